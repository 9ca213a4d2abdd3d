//! As it is now.

use futures_util::{StreamExt, stream};
use rpc::{Context, Server, Stream, Streaming};
use serde::{Deserialize, Serialize};

use super::Ran;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub qty: u32,
    pub sku: String,
    #[serde(default)]
    pub gift: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    #[serde(default = "euro")]
    pub currency: String,
    #[serde(alias = "lines")]
    pub lines: Vec<Line>,
}

fn euro() -> String {
    "EUR".into()
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub total: u32,
    pub tax: Option<u32>,
    pub order: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PayError {
    Later { seconds: u32 },
    Refused { code: u16, text: Option<String> },
    Closed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    Opened,
    Closed,
    Sold(Line),
}

#[rpc::service(name = "Evolve")]
pub trait Shop {
    // Arguments alone differ.
    async fn order(&self, order: Order) -> u32;
    async fn borrow(&self, sku: &str, line: &Line) -> String;
    async fn extend(&self, more: Option<u32>, n: u32) -> u32;
    // Results alone.
    async fn receipt(&self, id: u32) -> Receipt;
    async fn optional(&self, n: u32) -> Option<Receipt>;
    // Errors alone.
    async fn pay(&self, amount: u32) -> Result<u32, PayError>;
    // Items alone.
    fn events(&self, upto: u32) -> impl Stream<Item = Event>;
    async fn import(&self, lines: Streaming<Line>) -> u32;
    fn chat(&self, lines: Streaming<Line>) -> impl Stream<Item = Line>;
    async fn refusable(&self, upto: u32) -> Result<impl Stream<Item = Line>, PayError>;
    // And the others.
    #[rpc(oneway)]
    async fn note(&self, line: Line);
    async fn buy(&self, cx: &Context, line: Line) -> bool;
    async fn depends(&self, n: u8) -> u32;
    async fn never(&self, n: String) -> u32;
    async fn never_answered(&self, n: u32) -> Receipt;
    async fn same(&self, n: u32) -> u32;
    async fn added(&self) -> u32;
}

/// What the shop asks of who buys.
#[rpc::service(name = "EvolveBuyer")]
pub trait Buyer {
    async fn confirm(&self, line: Line) -> Line;
}

pub struct MyShop(pub Ran);

impl Shop for MyShop {
    async fn order(&self, order: Order) -> u32 {
        self.0.note(format!("order {order:?}"));
        order.lines.iter().map(|line| line.qty).sum()
    }
    async fn borrow(&self, sku: &str, line: &Line) -> String {
        format!("{sku} of {} x {}", line.qty, line.sku)
    }
    async fn extend(&self, more: Option<u32>, n: u32) -> u32 {
        n + more.unwrap_or(0)
    }
    async fn receipt(&self, id: u32) -> Receipt {
        Receipt { total: 450, tax: Some(9), order: id }
    }
    async fn optional(&self, n: u32) -> Option<Receipt> {
        (n > 0).then_some(Receipt { total: 450, tax: None, order: n })
    }
    async fn pay(&self, amount: u32) -> Result<u32, PayError> {
        self.0.note("pay");
        match amount {
            0 => Err(PayError::Closed),
            1 => Err(PayError::Refused { code: 1, text: Some("no".into()) }),
            2 => Err(PayError::Later { seconds: 5 }),
            _ => Ok(amount),
        }
    }
    fn events(&self, upto: u32) -> impl Stream<Item = Event> {
        stream::iter(
            (1..=upto)
                .map(|qty| Event::Sold(Line { qty, sku: "tea".into(), gift: false }))
                .chain([Event::Closed])
                .chain((upto > 2).then_some(Event::Opened)),
        )
    }
    async fn import(&self, mut lines: Streaming<Line>) -> u32 {
        let mut sum = 0;
        while let Some(line) = lines.next().await {
            sum += line.unwrap().qty;
        }
        sum
    }
    fn chat(&self, lines: Streaming<Line>) -> impl Stream<Item = Line> {
        lines.map(|line| line.unwrap()).map(|line| Line { sku: line.sku.to_uppercase(), ..line })
    }
    async fn refusable(&self, upto: u32) -> Result<impl Stream<Item = Line>, PayError> {
        match upto {
            0 => Err(PayError::Refused { code: 7, text: None }),
            _ => Ok(stream::iter((1..=upto).map(|qty| Line { qty, sku: "tea".into(), gift: false }))),
        }
    }
    async fn note(&self, line: Line) {
        self.0.note(format!("note {} {}", line.qty, line.sku));
    }
    async fn buy(&self, cx: &Context, line: Line) -> bool {
        let confirmed = BuyerClient::from(cx.caller()).confirm(line.clone()).await;
        confirmed.is_ok_and(|confirmed| confirmed == line)
    }
    async fn depends(&self, n: u8) -> u32 {
        n.into()
    }
    async fn never(&self, _: String) -> u32 {
        self.0.note("never");
        0
    }
    async fn never_answered(&self, order: u32) -> Receipt {
        self.0.note("never_answered");
        Receipt { total: 0, tax: None, order }
    }
    async fn same(&self, n: u32) -> u32 {
        n + 1
    }
    async fn added(&self) -> u32 {
        1
    }
}

pub struct MyBuyer;

impl Buyer for MyBuyer {
    async fn confirm(&self, line: Line) -> Line {
        line
    }
}

pub fn server(ran: &Ran) -> Server {
    Server::new().add(ShopServer::new(MyShop(ran.clone())))
}

pub fn buyer() -> Server {
    Server::new().add(BuyerServer::new(MyBuyer))
}

/// Calls everything on a server of whatever age that works with both.
pub async fn call_all(client: rpc::Client) {
    let shop = ShopClient::from(client);
    let line = |sku: &str, qty| Line { qty, sku: sku.into(), gift: false };
    assert_eq!(shop.order(Order { id: 7, currency: "USD".into(), lines: vec![line("tea", 2), line("cup", 3)] }).await.unwrap(), 5);
    assert_eq!(shop.borrow("box", &line("tea", 2)).await.unwrap(), "box of 2 x tea");
    assert_eq!(shop.extend(None, 9).await.unwrap(), 9);
    let receipt = shop.receipt(7).await.unwrap();
    assert_eq!((receipt.order, receipt.total), (7, 450));
    assert!(matches!(receipt.tax, None | Some(9)));
    assert_eq!(shop.optional(0).await.unwrap(), None);
    assert_eq!(shop.optional(3).await.unwrap(), Some(Receipt { total: 450, tax: None, order: 3 }));
    assert_eq!(shop.pay(5).await.unwrap(), 5);
    assert_eq!(shop.pay(0).await.unwrap_err().into_service().unwrap(), PayError::Closed);
    assert!(matches!(shop.pay(1).await.unwrap_err().into_service().unwrap(), PayError::Refused { code: 1, .. }));
    let events: Vec<_> = shop.events(2).await.unwrap().map(|event| event.unwrap()).collect().await;
    assert_eq!(events, [Event::Sold(line("tea", 1)), Event::Sold(line("tea", 2)), Event::Closed]);
    assert_eq!(shop.import(stream::iter([line("tea", 2), line("cup", 40)])).await.unwrap(), 42);
    let (say, lines) = Streaming::channel();
    let mut answers = shop.chat(lines).await.unwrap();
    for qty in [1, 300] {
        say.send(line("tea", qty)).await.unwrap();
        assert_eq!(answers.next().await.unwrap().unwrap(), line("TEA", qty));
    }
    say.finish();
    assert!(answers.next().await.is_none());
    let lines: Vec<_> = shop.refusable(2).await.unwrap().map(|line| line.unwrap()).collect().await;
    assert_eq!(lines, [line("tea", 1), line("tea", 2)]);
    assert_eq!(shop.refusable(0).await.unwrap_err().into_service().unwrap(), PayError::Refused { code: 7, text: None });
    shop.note(line("tea", 4)).await.unwrap();
    assert!(shop.buy(line("tea", 5)).await.unwrap());
    assert_eq!(shop.depends(200).await.unwrap(), 200);
    assert_eq!(shop.same(1).await.unwrap(), 2);
}
