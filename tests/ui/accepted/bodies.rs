//! Default bodies, supertraits, and what they may call.
#![deny(warnings)]
#![deny(clippy::all, clippy::pedantic)]

use rpc::{Context, service};

#[service]
pub trait Defaults: std::fmt::Debug + Send
where
    Self: Clone,
{
    async fn plain(&self, n: u32) -> u32 {
        n + 1
    }
    async fn fails(&self, text: &str) -> Result<u32, String> {
        let n: u32 = text.parse().map_err(|_| "no number")?;
        if n == 0 {
            return Err(format!("{self:?}: zero"));
        }
        self.plain(n).await;
        Ok(n)
    }
    async fn nothing(&self) {}
    async fn never(&self, _cx: &Context) -> u8 {
        loop {
            self.nothing().await;
        }
    }
    #[rpc(blocking)]
    fn blocks(&self, text: &str) -> usize {
        text.len()
    }
}

#[derive(Clone, Debug)]
struct Mine;

impl Defaults for Mine {
    async fn plain(&self, n: u32) -> u32 {
        n
    }
}

fn main() {
    drop(DefaultsClient::local(Mine).fails("1"));
}
