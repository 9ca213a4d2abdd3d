//! A service of twenty methods as people write them: it is traced whole, in bounded time, and its schema stays small.

#![allow(dead_code, reason = "only traced")]

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::frame::payload::Fault;
use crate::schema::own::{Described, Own};
use crate::schema::{Node, Reader, Root};

macro_rules! types {
    ($($item:item)*) => {$(
        #[derive(Serialize, Deserialize)]
        $item
    )*};
}

types! {
    struct Money { amount_minor: i64, currency: String }
    struct Address { name: String, street: String, city: String, postal_code: String, country: String }
    enum PayMethod {
        Card { number: String, exp_month: u8, exp_year: u16, cvc: String },
        BankTransfer { iban: String, bic: Option<String> },
        Wallet(String),
        GiftCard { code: String },
    }
    struct Item { sku: String, title: String, quantity: u32, unit_price: Money, attributes: Vec<(String, String)> }
    struct Cart { id: u64, items: Vec<Item>, coupon: Option<String>, currency: String }
    enum OrderStatus {
        Pending,
        Authorized { auth_code: String },
        Captured { at_unix_ms: u64 },
        Shipped { tracking: Vec<String> },
        Refunded { amount: Money, reason: String },
        Cancelled(String),
    }
    struct Order {
        id: u64,
        cart: Cart,
        customer_id: u64,
        billing: Address,
        shipping: Option<Address>,
        method: PayMethod,
        status: OrderStatus,
        total: Money,
        created_unix_ms: u64,
        notes: Vec<String>,
    }
    struct Customer { id: u64, email: String, addresses: Vec<Address>, saved_methods: Vec<PayMethod>, loyalty_points: u32 }
    enum CheckoutError {
        NotFound { what: String, id: u64 },
        Declined { code: u16, message: String },
        OutOfStock(Vec<String>),
        Invalid { field: String, problem: String },
        RateLimited { retry_after_ms: u32 },
        Internal(String),
    }
    struct Page { offset: u64, limit: u32 }
    struct OrderFilter { customer_id: Option<u64>, status: Option<OrderStatus>, since_unix_ms: Option<u64>, page: Page }
    struct OrderPage { orders: Vec<Order>, next: Option<Page>, total: u64 }
    enum Event { OrderChanged { id: u64, status: OrderStatus }, StockLow { sku: String, left: u32 }, Ping }
    struct Stats { orders: u64, revenue: Vec<Money>, p50_us: f64, p99_us: f64 }
    struct TaxLine { name: String, rate_bp: u32, amount: Money }
    struct Quote { lines: Vec<Item>, tax: Vec<TaxLine>, shipping: Money, total: Money }
    struct Refund { id: u64, order_id: u64, amount: Money, reason: String }
}

macro_rules! methods {
    ($($name:literal($($at:literal $argument:literal: $type:ty),*) -> $returns:ty;)*) => {
        const METHODS: &[Described] = &[$({
            fn run(root: Root, reader: Reader<'_, '_>) -> Result<(), Fault> {
                match root {
                    $(Root::Argument($at) => reader.read::<$type>(),)*
                    Root::Returns => reader.read::<$returns>(),
                    Root::Error => reader.read::<CheckoutError>(),
                    _ => reader.none(),
                }
            }
            let arguments: &[&str] = &[$($argument),*];
            Described { name: $name, arguments, upload: None, fallible: true, downloads: false, oneway: false, run }
        }),*];
    };
}

methods! {
    "add_address"(0 "customer": u64, 1 "address": Address) -> Customer;
    "add_item"(0 "cart": u64, 1 "item": Item) -> Cart;
    "add_method"(0 "customer": u64, 1 "method": PayMethod) -> Customer;
    "apply_coupon"(0 "cart": u64, 1 "code": String) -> Cart;
    "cancel"(0 "order": u64, 1 "reason": String) -> Order;
    "cart"(0 "id": u64) -> Cart;
    "checkout"(0 "cart": u64, 1 "billing": Address, 2 "method": PayMethod) -> Order;
    "customer"(0 "id": u64) -> Customer;
    "event"(0 "after": u64) -> Event;
    "order"(0 "id": u64) -> Order;
    "orders"(0 "filter": OrderFilter) -> OrderPage;
    "quote"(0 "cart": u64, 1 "country": String) -> Quote;
    "refund"(0 "order": u64, 1 "amount": Money, 2 "reason": String) -> Refund;
    "refunds"(0 "page": Page) -> Vec<Refund>;
    "remove_item"(0 "cart": u64, 1 "sku": String) -> Cart;
    "search"(0 "text": String) -> Vec<Item>;
    "set_quantity"(0 "cart": u64, 1 "sku": String, 2 "quantity": u32) -> Cart;
    "set_stock"(0 "sku": String, 1 "left": u32) -> ();
    "stats"() -> Stats;
    "update_customer"(0 "customer": Customer) -> Customer;
}

#[test]
fn a_service_of_twenty_methods_is_traced_whole() {
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        std::hint::black_box(Own::of_methods("Shop", METHODS.iter().copied()));
        shortest = shortest.min(begin.elapsed());
    }
    let own = Own::of_methods("Shop", METHODS.iter().copied());
    println!("{} methods: {shortest:?}, {} passes, {} nodes, {} bytes of schema", METHODS.len(), own.passes, own.schema.nodes.len(), own.bytes.len());
    assert_eq!(own.problems, [""; 0]);
    assert!(!own.schema.nodes.iter().any(|node| matches!(node, Node::Opaque(_))));
    // Twenty types, and what they are made of, each once.
    assert!(own.schema.nodes.len() < 60, "{} nodes", own.schema.nodes.len());
    assert!(own.bytes.len() < 2_500, "{} bytes", own.bytes.len());
    assert!(own.passes < 10_000, "{} passes", own.passes);
}
