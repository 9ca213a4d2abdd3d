#!/usr/bin/env python3
"""What a service costs to compile, here and with tarpc and tonic: small programs are written, built as their users would build them, and run.

    python3 benches/compile_cost.py                      # a table in markdown; some ten minutes of two cores
    python3 benches/compile_cost.py --only rpc           # one of them (may be given again)
    python3 benches/compile_cost.py --keep DIR           # leave the programs in DIR, to look at

All programs do the same: a server on a port of its own, a client in the same `main`, each method called once. The time is that of the
processors (user and system, of cargo and all that it starts), as a clock on the wall says more about the machine. Versions are those of
the workspace's Cargo.lock, settings Cargo's own. A method has an argument and a result of its own, which no other method shares.

It is not a bench of calls: that is `benches/peers`. The code a type costs has a budget in `tests/tests/code_size.rs`.
"""
import argparse
import datetime
import json
import os
import platform
import re
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FEW, MANY = 5, 25
TOKIO = 'tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }\n'
SERDE = 'serde = { version = "1", features = ["derive"] }\n'


# The types of method `n`: an order of six fields, a part of it, and a receipt. Order and types of fields change from method to method, as
# do all names, or the compiler would make one of two.

def order(n):
    id_type = ["u64", "i64", "u32", "i32", "f64"][n // 6 % 5]
    fields = [(f"id{n}", id_type), ("name", "String"), (f"amount{n}", "i32"), ("tags", "Vec<String>"), ("on", "bool"), ("part", f"Option<Part{n}>")]
    return fields[n % 6:] + fields[:n % 6]


def structs(n):
    id_type = dict(order(n))[f"id{n}"]
    yield f"Order{n}", order(n)
    yield f"Part{n}", [(f"count{n}", "u32"), ("note", "String")]
    yield f"Receipt{n}", [(f"id{n}", id_type), ("note", "String"), (f"total{n}", "i64")]


def sample(n):
    id_value = "7.0" if dict(order(n))[f"id{n}"] == "f64" else "7"
    part = f'Part{n} {{ count{n}: 2, note: "gift".to_owned() }}'
    return (f'Order{n} {{ id{n}: {id_value}, name: "tea".to_owned(), amount{n}: {n}, tags: vec!["hot".to_owned()], on: true, part: Some({part}) }}')


def answer(n):
    """The body of handler `n`, which has `order` and makes a receipt."""
    note = 'format!("{} {} {}", order.name, order.tags.len(), order.on)'
    total = f"i64::from(order.amount{n}) + order.part.map_or(0, |part| i64::from(part.count{n}))"
    return f"Receipt{n} {{ id{n}: order.id{n}, note: {note}, total{n}: {total} }}"


def lines(methods, line):
    return "".join(line(n) for n in range(methods))


def serde_types(methods):
    derive = "#[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]\n"
    text = lambda name, fields: f"{derive}pub struct {name} {{\n" + "".join(f"    pub {name}: {kind},\n" for name, kind in fields) + "}\n"
    return lines(methods, lambda n: "".join(text(name, fields) for name, fields in structs(n)))


def prost_types(methods):
    """As prost-build writes them."""
    kinds = {"u64": "uint64", "i64": "int64", "u32": "uint32", "i32": "int32", "f64": "double", "bool": "bool", "String": "string",
             "Vec<String>": "string, repeated"}

    def text(name, fields):
        each = ""
        for tag, (field, kind) in enumerate(fields, 1):
            each += f'    #[prost({kinds.get(kind, "message, optional")}, tag = "{tag}")]\n    pub {field}: {kind},\n'
        return f"#[derive(Clone, PartialEq, ::prost::Message)]\npub struct {name} {{\n{each}}}\n"

    return lines(methods, lambda n: "".join(text(name, fields) for name, fields in structs(n)))


# The programs. `HELLO` is replaced to change a handler's body; `methods` is 0 for the program that only says hello.

class Rpc:
    title = "this crate"
    features = ""

    def manifest(self):
        return f'rpc = {{ path = "{ROOT}/rpc"{self.features} }}\n{SERDE}{TOKIO}'

    def main(self, methods):
        if methods:
            trait = lines(methods, lambda n: f"    async fn method{n}(&self, order: Order{n}) -> Receipt{n};\n")
            handlers = lines(methods, lambda n: f"    async fn method{n}(&self, order: Order{n}) -> Receipt{n} {{\n        {marked(n)}\n    }}\n")
            calls = lines(methods, lambda n: f"    sum += client.method{n}({sample(n)}).await?.total{n};\n")
        else:
            trait = "    async fn greet(&self, name: String) -> String;\n"
            handlers = '    async fn greet(&self, name: String) -> String {\n        format!("HELLO, {name}!")\n    }\n'
            calls = '    println!("{}", client.greet("world".to_owned()).await?);\n'
        return f"""{serde_types(methods)}
#[rpc::service]
trait Shop {{
{trait}}}

struct Stall;

impl Shop for Stall {{
{handlers}}}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {{
    let server = rpc::Server::new().add(ShopServer::new(Stall)).bind("127.0.0.1:0").await?;
    let address = server.local_addr();
    tokio::spawn(server.serve());
    let client = ShopClient::connect(address).await?;
{summed(methods, calls)}    Ok(())
}}
"""

    def prepare(self, folder, methods):
        pass


class RpcAlone(Rpc):
    title = "this crate without `json`"
    features = ", default-features = false"


class Tarpc:
    title = "tarpc"

    def manifest(self):
        tarpc = 'tarpc = { version = "0.38", features = ["tcp", "serde-transport", "serde-transport-bincode", "tokio1"] }\n'
        return f'{tarpc}futures = "0.3"\n{SERDE}{TOKIO}'

    def main(self, methods):
        if methods:
            trait = lines(methods, lambda n: f"    async fn method{n}(order: Order{n}) -> Receipt{n};\n")
            head = "    async fn method{0}(self, _: Context, order: Order{0}) -> Receipt{0} {{\n        "
            handlers = lines(methods, lambda n: f"{head.format(n)}{marked(n)}\n    }}\n")
            calls = lines(methods, lambda n: f"    sum += client.method{n}(tarpc::context::current(), {sample(n)}).await?.total{n};\n")
        else:
            trait = "    async fn greet(name: String) -> String;\n"
            handlers = '    async fn greet(self, _: Context, name: String) -> String {\n        format!("HELLO, {name}!")\n    }\n'
            calls = '    println!("{}", client.greet(tarpc::context::current(), "world".to_owned()).await?);\n'
        return f"""use futures::StreamExt;
use tarpc::context::Context;
use tarpc::server::{{BaseChannel, Channel}};
use tarpc::tokio_serde::formats::Bincode;

{serde_types(methods)}
#[tarpc::service]
trait Shop {{
{trait}}}

#[derive(Clone)]
struct Stall;

impl Shop for Stall {{
{handlers}}}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {{
    let mut incoming = tarpc::serde_transport::tcp::listen("127.0.0.1:0", Bincode::default).await?;
    let address = incoming.local_addr();
    tokio::spawn(async move {{
        while let Some(Ok(transport)) = incoming.next().await {{
            tokio::spawn(BaseChannel::with_defaults(transport).execute(Stall.serve()).for_each(|call| async move {{
                tokio::spawn(call);
            }}));
        }}
    }});
    let transport = tarpc::serde_transport::tcp::connect(address, Bincode::default).await?;
    let client = ShopClient::new(tarpc::client::Config::default(), transport).spawn();
{summed(methods, calls)}    Ok(())
}}
"""

    def prepare(self, folder, methods):
        pass


class Tonic:
    title = "tonic"

    def manifest(self):
        return f'tonic = "0.14"\ntonic-prost = "0.14"\nprost = "0.14"\n{TOKIO}'

    def main(self, methods):
        if methods:
            types = prost_types(methods)
            head = "    async fn method{0}(&self, request: Request<Order{0}>) -> Result<Response<Receipt{0}>, Status> {{\n"
            handlers = lines(methods, lambda n: f"""{head.format(n)}        let order = request.into_inner();
        Ok(Response::new({marked(n)}))
    }}
""")
            calls = lines(methods, lambda n: f"    sum += client.method{n}({sample(n)}).await?.into_inner().total{n};\n")
        else:
            text = '#[derive(Clone, PartialEq, ::prost::Message)]\npub struct %s {\n    #[prost(string, tag = "1")]\n    pub %s: String,\n}\n'
            types = text % ("Person", "name") + text % ("Greeting", "text")
            handlers = """    async fn greet(&self, request: Request<Person>) -> Result<Response<Greeting>, Status> {
        let name = request.into_inner().name;
        Ok(Response::new(Greeting { text: format!("HELLO, {name}!") }))
    }
"""
            calls = '    println!("{}", client.greet(Person { name: "world".to_owned() }).await?.into_inner().text);\n'
        return f"""use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{{Request, Response, Status}};

mod shop;
use shop::shop_client::ShopClient;
use shop::shop_server::{{Shop, ShopServer}};

{types}
struct Stall;

#[tonic::async_trait]
impl Shop for Stall {{
{handlers}}}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {{
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse()?)?;
    let address = incoming.local_addr()?;
    tokio::spawn(Server::builder().add_service(ShopServer::new(Stall)).serve_with_incoming(incoming));
    let mut client = ShopClient::connect(format!("http://{{address}}")).await?;
{summed(methods, calls)}    Ok(())
}}
"""

    def prepare(self, folder, methods):
        """Writes src/shop.rs by tonic's own generator, outside all that is measured: with a build script it would be slower, and need protoc."""
        def method(name, takes, gives):
            types = f'.input_type("crate::{takes}").output_type("crate::{gives}").codec_path("tonic_prost::ProstCodec")'
            return f'        .method(tonic_build::manual::Method::builder().name("{name}").route_name("{name}"){types}.build())\n'

        methods = lines(methods, lambda n: method(f"method{n}", f"Order{n}", f"Receipt{n}")) if methods else method("greet", "Person", "Greeting")
        generator = os.path.join(os.path.dirname(folder), "generator")
        write(generator, "Cargo.toml", package("generator") + 'tonic-build = "0.14"\n')
        write(generator, "src/main.rs", f"""fn main() {{
    let service = tonic_build::manual::Service::builder().name("Shop").package("shop")
{methods}        .build();
    tonic_build::manual::Builder::new().out_dir(std::env::args().nth(1).expect("a folder")).compile(&[service]);
}}
""")
        cargo(generator, os.path.join(generator, "target"), "run", "--quiet", "--", os.path.join(folder, "src"))
        os.rename(os.path.join(folder, "src/shop.Shop.rs"), os.path.join(folder, "src/shop.rs"))


FRAMEWORKS = {"rpc": Rpc(), "rpc-alone": RpcAlone(), "tarpc": Tarpc(), "tonic": Tonic()}


def marked(n):
    """The body of handler `n`; that of the first has something to replace."""
    return answer(n).replace('"{} {} {}"', '"HELLO {} {} {}"') if n == 0 else answer(n)


def summed(methods, calls):
    return f'    let mut sum = 0;\n{calls}    println!("{{sum}}");\n' if methods else calls


def package(name):
    return f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n\n[workspace]\n\n[dependencies]\n'


def write(folder, name, text):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def cargo(folder, target, *arguments):
    """Runs cargo as a user does, whatever this process is told. Gives what it printed, and the seconds that it and all it started computed."""
    kept = {key: value for key, value in os.environ.items() if not re.match("CARGO_(PROFILE|INCREMENTAL|BUILD|ENCODED)|RUSTFLAGS|RUSTC_", key)}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(["cargo", *arguments], cwd=folder, env=kept | {"CARGO_TARGET_DIR": target}, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if run.returncode:
        sys.exit(f"{folder}: cargo {' '.join(arguments)}: {run.stderr[-3000:]}")
    return run.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Program:
    """A user's crate: the one that says hello (no methods), or one with so many methods."""

    def __init__(self, base, key, methods):
        self.framework, self.methods = FRAMEWORKS[key], methods
        self.name = f"shop{methods}"
        self.folder, self.target = os.path.join(base, key, self.name), os.path.join(base, key, "target")
        self.edits = 0
        write(self.folder, "Cargo.toml", package(self.name) + self.framework.manifest())
        write(self.folder, "src/main.rs", self.framework.main(methods))
        self.framework.prepare(self.folder, methods)
        shutil.copy(os.path.join(ROOT, "Cargo.lock"), self.folder)
        cargo(self.folder, self.target, "fetch")

    def build(self, *profile):
        """Seconds, and how many packages were compiled."""
        out, seconds = cargo(self.folder, self.target, "build", "--offline", "--message-format=json", *profile)
        messages = [json.loads(line) for line in out.splitlines()]
        return seconds, len({message["package_id"] for message in messages if message["reason"] == "compiler-artifact" and not message["fresh"]})

    def again(self):
        """Seconds for this crate alone, its dependencies being there."""
        cargo(self.folder, self.target, "clean", "--offline", "--package", self.name)
        return self.build()[0]

    def edited(self):
        """Seconds for a rebuild after a handler's body has changed."""
        self.edits += 1
        write(self.folder, "src/main.rs", self.framework.main(self.methods).replace("HELLO", f"HELLO{self.edits}"))
        seconds, compiled = self.build()
        assert compiled == 1, f"{self.folder}: {compiled} packages were compiled again"
        return seconds

    def check(self):
        """Runs it: all of them answer the same, or they would not be compared."""
        told = subprocess.run([os.path.join(self.target, "debug", self.name)], capture_output=True, text=True, timeout=60).stdout
        expected = str(sum(range(self.methods)) + 2 * self.methods) if self.methods else "HELLO, world!"
        assert told.strip() == expected, f"{self.folder}: {told!r} in place of {expected!r}"

    def code(self):
        """Bytes of all sections that are executed, of a 64-bit ELF file."""
        with open(os.path.join(self.target, "release", self.name), "rb") as file:
            program = file.read()
        assert program[:6] == b"\x7fELF\x02\x01", "a 64-bit ELF file, lowest bytes first"
        (table,), (size, count) = struct.unpack_from("<Q", program, 0x28), struct.unpack_from("<HH", program, 0x3A)
        sections = (struct.unpack_from("<IIQQQQ", program, table + size * section) for section in range(count))
        executed = 4
        return sum(length for _, _, flags, _, _, length in sections if flags & executed)


def measure(base, keys, rounds):
    found = {key: {} for key in keys}
    programs = {}
    for key in keys:
        hello, few, many = programs[key] = [Program(base, key, methods) for methods in (0, FEW, MANY)]
        say(f"{key}: a clean build")
        found[key]["clean"], found[key]["crates"] = hello.build()
        for program in (hello, few, many):
            program.build()
            program.check()
    samples = {key: {"hello": [], "edited": [], "edited_many": [], "few": [], "many": []} for key in keys}
    for number in range(rounds):
        for key in keys:
            say(f"{key}: round {number + 1} of {rounds}")
            hello, few, many = programs[key]
            one = samples[key]
            one["hello"].append(hello.again())
            one["few"].append(few.again())
            one["many"].append(many.again())
            one["edited"].append(hello.edited())
            one["edited_many"].append(many.edited())
    for key in keys:
        say(f"{key}: release")
        _, few, many = programs[key]
        few.build("--release")
        many.build("--release")
        middle = {name: statistics.median(values) for name, values in samples[key].items()}
        found[key] |= {name: middle[name] for name in ("hello", "edited", "edited_many")}
        found[key]["per_method"] = (middle["many"] - middle["few"]) / (MANY - FEW)
        found[key]["code_few"], found[key]["code"] = few.code(), (many.code() - few.code()) / (MANY - FEW)
    return found


def say(text):
    print(text, file=sys.stderr, flush=True)


ROWS = [
    ("a clean debug build of a hello-world", "clean", lambda value: f"{value:.1f} s"),
    ("crates compiled for it, its own among them", "crates", str),
    ("its own crate alone", "hello", lambda value: f"{value:.2f} s"),
    ("debug rebuild after a handler's body has changed", "edited", lambda value: f"{value:.2f} s"),
    (f"the same in a service of {MANY} methods", "edited_many", lambda value: f"{value:.2f} s"),
    ("debug build, for each method more", "per_method", lambda value: f"{value * 1000:.0f} ms"),
    ("code in release, for each method more", "code", lambda value: f"{value / 1024:.1f} KiB"),
    (f"code in release of a program with {FEW} methods", "code_few", lambda value: f"{value / 1024:,.0f} KiB"),
]


def versions():
    with open(os.path.join(ROOT, "Cargo.lock")) as file:
        return dict(re.findall(r'name = "(tarpc|tonic)"\nversion = "(.*)"', file.read()))


def table(found):
    version = versions()
    titles = [f"{FRAMEWORKS[key].title} {version.get(key, '')}".strip() for key in found]
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split(" (")[0]
    print(f"On {datetime.date.today()}, {rustc}, {platform.machine()}, {os.cpu_count()} cores; seconds of processor time\n")
    print(f"| | {' | '.join(titles)} |\n|---|{'---|' * len(titles)}")
    for title, name, shown in ROWS:
        print(f"| {title} | {' | '.join(shown(found[key][name]) for key in found)} |")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", choices=FRAMEWORKS, action="append", help="only this one (may be given again)")
    arguments.add_argument("--rounds", type=int, default=3, help="builds of which the median counts (a clean build is made once)")
    arguments.add_argument("--keep", metavar="DIR", help="where the programs are written, and stay")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = os.path.abspath(arguments.keep) if arguments.keep else folder
        table(measure(base, arguments.only or list(FRAMEWORKS), arguments.rounds))


if __name__ == "__main__":
    main()
