//! The name server's table of keys and values goes from one maker to the other, too.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Connection, Language, Process, binary, free_port};

use super::site::{Maker, stock};
use crate::available;

/// From exec to the ready line, and from SIGTERM to the end.
const PATIENCE: Duration = Duration::from_mins(1);
const PUT: i32 = 100;
const GET: i32 = 101;

/// Serves the folder's table; every key of `known` is there, and `key` is added.
fn turn(
    maker: Maker,
    folder: &Path,
    known: &mut Vec<&'static str>,
    key: &'static str,
) -> Result<()> {
    let port = free_port();
    let table = folder.join("kvConfig.json");
    let mut text = format!("listenPort={port}\nkvConfigPath={}\n", table.display());
    let file = folder.join("namesrv.properties");
    let mut command = match maker {
        Maker::Arugula => {
            text.push_str("httpListenPort=0\nbindAddress=127.0.0.1\n");
            let mut command = Command::new(binary("mqnamesrv")?);
            command.arg("-c").arg(&file);
            command
        }
        Maker::Apache => {
            writeln!(text, "rocketmqHome={}", folder.display())?;
            stock(&["namesrv".as_ref(), folder.as_os_str()])
        }
    };
    std::fs::write(&file, text)?;
    let mut process = Process::start(&format!("{maker:?}"), command.current_dir(folder))?;
    process.wait_line("boot success", PATIENCE)?;
    let mut connection = Connection::open(&format!("127.0.0.1:{port}"))?;
    for key in known.iter() {
        let answer = connection.call(
            GET,
            &[("namespace", "ORDER_TOPIC_CONFIG"), ("key", key)],
            &[],
        )?;
        let value = answer.ok()?.field("value").to_owned();
        ensure!(value == format!("{key}:4"), "{key} is {value} at {maker:?}");
    }
    let value = format!("{key}:4");
    let fields = [
        ("namespace", "ORDER_TOPIC_CONFIG"),
        ("key", key),
        ("value", &value),
    ];
    connection.call(PUT, &fields, &[])?.ok()?;
    known.push(key);
    process.terminate()?;
    process.wait_exit(PATIENCE)?;
    Ok(())
}

#[test]
fn the_table_of_a_name_server_goes_to_the_reference_and_back() -> Result<()> {
    if !available(Language::Java)? {
        return Ok(());
    }
    let folder = tempfile::Builder::new()
        .prefix("arugula-cross-")
        .tempdir()?;
    let mut known = Vec::new();
    turn(Maker::Apache, folder.path(), &mut known, "broker-a")?;
    turn(Maker::Arugula, folder.path(), &mut known, "broker-b")?;
    turn(Maker::Apache, folder.path(), &mut known, "broker-c")?;
    turn(Maker::Arugula, folder.path(), &mut known, "broker-d")
}
