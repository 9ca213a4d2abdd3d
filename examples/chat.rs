//! Both ways at once: a chat room. Each guest sends lines during one long call and hears the others on the same call.
//! `cargo run --example chat`.

use futures_util::stream;
use rpc::{Sender, Server, Stream, Streaming};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// What a guest hears of the others.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Line {
    Joined(String),
    Said(String, String),
    Left(String),
    /// So many lines are gone, because this guest did not keep up.
    Missed(u64),
}

#[rpc::service]
trait Chat {
    /// Takes what this guest says, and gives what the others do.
    fn chat(&self, name: String, lines: Streaming<String>) -> impl Stream<Item = Line>;
}

/// Lines go to everybody, behind the name of their guest, who skips them. Nobody waits for a guest who does not listen.
struct Room(broadcast::Sender<(String, Line)>);

/// A guest in the room. However the call ends, its client killed included, this is dropped, and the others are told.
struct Seat {
    name: String,
    room: broadcast::Sender<(String, Line)>,
}

impl Seat {
    fn tell(&self, line: Line) {
        // An empty room is no fault.
        self.room.send((self.name.clone(), line)).ok();
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.tell(Line::Left(self.name.clone()));
    }
}

impl Chat for Room {
    fn chat(&self, name: String, lines: Streaming<String>) -> impl Stream<Item = Line> {
        let heard = self.0.subscribe();
        let seat = Seat { name, room: self.0.clone() };
        seat.tell(Line::Joined(seat.name.clone()));
        stream::unfold((seat, lines, heard), |(seat, mut lines, mut heard)| async {
            loop {
                // Neither loses anything when the other is faster.
                tokio::select! {
                    said = lines.next() => match said {
                        Some(Ok(text)) => seat.tell(Line::Said(seat.name.clone(), text)),
                        // The guest has finished, or is gone: that ends what it hears as well.
                        Some(Err(_)) | None => return None,
                    },
                    line = heard.recv() => match line {
                        Ok((from, _)) if from == seat.name => {}
                        Ok((_, line)) => return Some((line, (seat, lines, heard))),
                        Err(broadcast::error::RecvError::Lagged(lines_lost)) => {
                            return Some((Line::Missed(lines_lost), (seat, lines, heard)));
                        }
                        Err(broadcast::error::RecvError::Closed) => return None,
                    },
                }
            }
        })
    }
}

/// The client's side: a connection, a way to speak, a way to listen.
struct Guest {
    name: &'static str,
    client: ChatClient,
    say: Sender<String>,
    hears: Streaming<Line>,
}

impl Guest {
    async fn join(address: &str, name: &'static str) -> Result<Self, rpc::Error> {
        let client = ChatClient::connect(address).await?;
        let (say, lines) = Streaming::channel();
        let hears = client.chat(name.to_owned(), lines).await?;
        println!("{name} joins");
        Ok(Self { name, client, say, hears })
    }

    async fn says(&self, text: &str) -> Result<(), rpc::Error> {
        println!("{}: {text}", self.name);
        self.say.send(text.to_owned()).await
    }

    /// The next line, which is the only thing that ever waits here: so the transcript is the same each time.
    async fn listens(&mut self) -> Result<(), rpc::Error> {
        match self.hears.next().await.transpose()? {
            Some(Line::Joined(who)) => println!("    {} sees {who} join", self.name),
            Some(Line::Said(who, text)) => println!("    {} hears {who}: {text}", self.name),
            Some(Line::Left(who)) => println!("    {} sees {who} leave", self.name),
            Some(Line::Missed(count)) => println!("    {} has missed {count} lines", self.name),
            None => println!("    {} hears nothing any more", self.name),
        }
        Ok(())
    }

    /// No more lines from here: the room ends its own side in answer, and then the connection has nothing in flight.
    async fn leaves(mut self) -> Result<(), rpc::Error> {
        println!("{} leaves", self.name);
        self.say.finish();
        match self.hears.next().await.transpose()? {
            None => println!("    {} hears no more", self.name),
            Some(line) => println!("    {} hears {line:?}", self.name),
        }
        self.client.close().await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), rpc::Error> {
    let server = Server::new().add(ChatServer::new(Room(broadcast::channel(100).0))).bind("127.0.0.1:0").await?;
    let address = server.local_addr().to_string();
    tokio::spawn(server.serve());

    let mut ann = Guest::join(&address, "ann").await?;
    let mut bob = Guest::join(&address, "bob").await?;
    ann.listens().await?;
    let mut cleo = Guest::join(&address, "cleo").await?;
    ann.listens().await?;
    bob.listens().await?;

    ann.says("who has the keys?").await?;
    bob.listens().await?;
    cleo.listens().await?;
    bob.says("cleo has").await?;
    ann.listens().await?;
    cleo.listens().await?;

    // Without a word: the call is dropped with all that belongs to it.
    println!("cleo vanishes");
    drop(cleo);
    ann.listens().await?;
    bob.listens().await?;

    // With a word.
    bob.leaves().await?;
    ann.listens().await?;
    ann.leaves().await?;
    Ok(())
}
