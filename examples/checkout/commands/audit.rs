//! Whether the books balance: a line of JSON a charge on stdout, the verdict on stderr and in the exit code.

use std::io::{self, Write};

use super::Tried;
use super::server::Place;
use crate::domain::audit::{Book, audit};
#[cfg(feature = "postgres")]
use crate::store::Store;
use crate::store::embedded::book_path;
use crate::store::embedded::read_book;

pub async fn run(place: Place) -> Tried {
    let report = audit(&read(place).await?);
    let mut out = io::stdout().lock();
    for charge in &report.charges {
        serde_json::to_writer(&mut out, charge)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    if report.faults.is_empty() {
        eprintln!("the books balance: {} charges", report.charges.len());
        return Ok(());
    }
    report.faults.iter().for_each(|fault| eprintln!("{fault}"));
    Err(format!("the books do not balance: {} faults", report.faults.len()).into())
}

async fn read(place: Place) -> Tried<Book> {
    match place {
        Place { data: Some(path), .. } => Ok(read_book(&book_path(path))?),
        Place { store: Some(url), .. } => shared(&url).await,
        Place { data: None, store: None } => Err("which books? --data PATH or --store URL".into()),
    }
}

#[cfg(feature = "postgres")]
async fn shared(url: &str) -> Tried<Book> {
    Ok(crate::store::postgres::PostgresStore::open(url).await?.book().await?)
}

#[cfg(not(feature = "postgres"))]
async fn shared(_url: &str) -> Tried<Book> {
    Err("this program was built without the feature `postgres`".into())
}
