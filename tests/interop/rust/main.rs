//! Our own client behind the line protocol of `../README.md`.

mod bodies;
mod options;
mod receiver;
mod sender;
mod transactor;

use anyhow::{Result, bail};
use options::Options;

/// Beyond ASCII on purpose: properties are UTF-8 on the wire.
const NOTE: &str = "rúcula 芝麻菜";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next();
    let options = Options::parse(arguments)?;
    match command.as_deref() {
        Some("send") => sender::run(&options).await?,
        Some("receive") => receiver::run(&options).await?,
        Some("transact") => transactor::run(&options).await?,
        _ => bail!("expected: send|receive|transact key=value ..."),
    }
    println!("done");
    // The thread that waits on standard input would hold the runtime otherwise.
    std::process::exit(0)
}

/// Resolves once the driver writes a line or goes away.
async fn told_to_stop() {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    let _ = read.await;
}

fn one_line(text: impl std::fmt::Display) -> String {
    text.to_string().replace(['\n', '\r'], " ")
}
