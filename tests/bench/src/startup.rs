//! From exec to the first acknowledged send.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};
use common::clock::{Clock as _, SystemClock};
use serde_json::json;

use crate::args::StartupArgs;
use crate::frame::{Kind, SendSpec, SendTemplate, Serialization};
use crate::reply;
use crate::stamp::Fill;

/// Pause between two tries; adds at most this to what is measured.
const RETRY: Duration = Duration::from_millis(1);

/// A broker that accepts but does not answer is asked again on a new connection after this.
const ANSWER: Duration = Duration::from_millis(200);

/// `mqbench startup`: starts the command, sends to it until a send is acknowledged, ends it with SIGTERM.
pub fn measure(args: &StartupArgs) -> anyhow::Result<bool> {
    let (program, arguments) = args.command.split_first().context("a command is needed")?;
    let clock = SystemClock::new();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("start {program}"))?;
    let first = first_acknowledged(args, &clock, &mut child);
    end(&mut child)?;
    let took = first?;
    println!(
        "{}",
        json!({ "mode": "startup", "milliseconds": took.as_secs_f64() * 1_000.0 })
    );
    Ok(true)
}

fn first_acknowledged(
    args: &StartupArgs,
    clock: &SystemClock,
    child: &mut Child,
) -> anyhow::Result<Duration> {
    let fill = Fill::new(1024, 1);
    let run = rand::random();
    let template = SendTemplate::new(&SendSpec {
        topic: "mqbench_startup",
        queue: 0,
        run,
        producer: 0,
        ordered: true,
        fill: &fill,
        serialization: Serialization::Json,
        kind: Kind::Plain,
    });
    let mut frame = Vec::new();
    let born_ms = u64::try_from(clock.now().0).unwrap_or(0);
    template.push(crate::frame::OPAQUE_FIRST, 0, 0, born_ms, &fill, &mut frame);
    loop {
        match send(&args.broker, &frame) {
            Ok(0) => return Ok(clock.monotonic()),
            _ if clock.monotonic() > args.timeout => {
                bail!("no send was acknowledged in {} s", args.timeout.as_secs());
            }
            _ => {
                if let Some(status) = child.try_wait()? {
                    bail!("the broker ended before it acknowledged a send: {status}");
                }
                thread::sleep(RETRY);
            }
        }
    }
}

/// Sends one frame on a new connection; the code of the answer.
fn send(address: &str, frame: &[u8]) -> anyhow::Result<i32> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(frame)?;
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        if let Some(frame) =
            reply::first_frame(&bytes).map_err(|malformed| anyhow::anyhow!("{malformed}"))?
        {
            return Ok(frame.reply.code);
        }
        match stream.read(&mut part)? {
            0 => bail!("closed"),
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

fn end(child: &mut Child) -> anyhow::Result<()> {
    if let Some(pid) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // It may have ended already; then there is nothing to end.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    child.wait()?;
    Ok(())
}
