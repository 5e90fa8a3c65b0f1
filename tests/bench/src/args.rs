//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::frame::Serialization;
use crate::stamp::STAMP_BYTES;

/// Load generator for RocketMQ brokers and name servers. It checks every reply and every message it reads, prints a
/// table and, as the last line, the same as JSON. Exit code 1 means that something was wrong with the answers.
#[derive(Parser)]
#[command(name = "mqbench", version)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Send messages.
    Produce(ProduceArgs),
    /// Send a backlog, then read it and compare it with what was acknowledged.
    Consume(ConsumeArgs),
    /// Send and read at the same time; measures from send to arrival.
    E2e(E2eArgs),
    /// Send plain messages, then half messages that are committed: a half and its end count as one.
    Transactions(TransactionsArgs),
    /// Set timers, then read them as they come while live traffic flows; measures how late they are.
    Timers(TimersArgs),
    /// Ask a name server for the route of a topic.
    Route(RouteArgs),
    /// Serve: parse frames like the broker, answer sends without storing them. The ceiling of the machine.
    Stub(StubArgs),
    /// Commit offsets and wait for each answer.
    Commit(CommitArgs),
    /// Create topics one after the other.
    Topics(TopicsArgs),
    /// Start a broker and measure the time from exec to its first acknowledged send.
    Startup(StartupArgs),
    /// Compare runs that were collected in a file.
    Compare(CompareArgs),
}

/// Where the load goes.
#[derive(Clone, clap::Args)]
pub struct Target {
    /// Broker, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: Option<String>,
    /// Name server, as host:port: the first master it knows is used.
    #[arg(long, value_name = "HOST:PORT")]
    pub namesrv: Option<String>,
    /// Topic; it is created when it does not exist. Default: a new one for each run.
    #[arg(long)]
    pub topic: Option<String>,
    /// Queues of the topic.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub queues: u16,
}

/// How the run goes.
#[derive(clap::Args)]
pub struct Run {
    /// Threads of this tool that make load. Connections are spread over them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Process of the server, whose CPU time and memory are noted. May be given more than once.
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// Seconds of load before measuring begins.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub warmup: Option<Duration>,
    /// Seconds to measure.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Seconds after which a request counts as unanswered.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds)]
    pub timeout: Duration,
    /// How headers are written.
    #[arg(long, value_enum, default_value = "json")]
    pub header: Serialization,
    /// Print the line of JSON only.
    #[arg(long)]
    pub quiet: bool,
}

/// How much is asked for at once.
#[derive(clap::Args)]
pub struct Load {
    /// Connections.
    #[arg(long, short = 'c', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16_384))]
    pub connections: u16,
    /// Most requests in flight per connection.
    #[arg(long, short = 'w', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub window: u16,
    /// Open loop: so many requests per second over all connections, due whether or not earlier ones were answered.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Requests to measure, instead of a duration.
    #[arg(long, conflicts_with = "duration")]
    pub count: Option<u64>,
}

/// Bodies.
#[derive(clap::Args)]
pub struct Bodies {
    /// Bytes of a body; at least 32, the size of the stamp in it.
    #[arg(long, short = 's', default_value_t = 1024, value_parser = body_bytes)]
    pub body_size: usize,
}

/// `mqbench produce`.
#[derive(clap::Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub bodies: Bodies,
}

/// `mqbench consume`.
#[derive(clap::Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub bodies: Bodies,
    /// Messages to send first. 0: read what the topic holds; then order is only checked for producers with one
    /// message in flight.
    #[arg(long, default_value_t = 200_000)]
    pub fill: u64,
    /// Connections that send the backlog, 16 messages in flight on each.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub fill_connections: u16,
    /// Connections that read. Each queue is read on one of them.
    #[arg(long, short = 'c', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub connections: u16,
    /// Most pulls in flight per connection, one per queue. Default: as many as it has queues.
    #[arg(long, short = 'w', value_parser = clap::value_parser!(u16).range(1..))]
    pub window: Option<u16>,
    /// Most messages per pull.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
}

/// `mqbench e2e`.
#[derive(clap::Args)]
pub struct E2eArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub bodies: Bodies,
    /// Connections that read. Each queue is read on one of them.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub consumers: u16,
    /// Closed loop instead of 500 messages per second.
    #[arg(long, conflicts_with = "rate")]
    pub closed: bool,
}

/// `mqbench transactions`.
#[derive(clap::Args)]
pub struct TransactionsArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub load: Load,
    #[command(flatten)]
    pub bodies: Bodies,
    /// Has every end answered. Stock clients send ends one-way, and so does this without the option.
    #[arg(long)]
    pub answered_ends: bool,
}

/// `mqbench timers`.
#[derive(clap::Args)]
pub struct TimersArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub bodies: Bodies,
    /// How many.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub timers: u32,
    /// Seconds over which they are due, evenly.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    pub spread: Duration,
    /// Seconds from the start of the run to the first of them; all have to be set by then.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub lead: Duration,
    /// Live messages per second, sent and read all the time.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Connections that set timers.
    #[arg(long, short = 'c', default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1_024))]
    pub connections: u16,
}

/// `mqbench route`.
#[derive(clap::Args)]
pub struct RouteArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub load: Load,
}

/// `mqbench commit`.
#[derive(clap::Args)]
pub struct CommitArgs {
    #[command(flatten)]
    pub target: Target,
    #[command(flatten)]
    pub run: Run,
    #[command(flatten)]
    pub load: Load,
}

/// `mqbench topics`.
#[derive(clap::Args)]
pub struct TopicsArgs {
    /// Broker, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: String,
    /// How many.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub count: u32,
    /// Queues of each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    pub queues: u16,
    /// Process of the server, whose CPU time and memory are noted.
    #[arg(long, value_name = "PID")]
    pub server_pid: Option<u32>,
}

/// `mqbench stub`.
#[derive(clap::Args)]
pub struct StubArgs {
    /// Where to listen; port 0 means any free one. The ready line says which.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// I/O threads. Default: as many as the broker takes.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub io_threads: Option<u16>,
}

/// `mqbench startup`.
#[derive(clap::Args)]
pub struct StartupArgs {
    /// Where the broker will listen, as host:port.
    #[arg(long, value_name = "HOST:PORT")]
    pub broker: String,
    /// Seconds to wait at most.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub timeout: Duration,
    /// The command that starts the broker in the foreground.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    pub command: Vec<String>,
}

/// `mqbench compare`.
#[derive(clap::Args)]
pub struct CompareArgs {
    /// Lines of JSON, one per run: {"server":…, "test":…, "report":…}. The server "ours" is compared with the others.
    pub runs: PathBuf,
    /// Where to write medians, ratios and all values.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text
        .parse()
        .map_err(|_| "expected seconds, such as 10 or 0.5".to_owned())?;
    if !(0.0..=86_400.0).contains(&number) {
        return Err("expected 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(number))
}

fn body_bytes(text: &str) -> Result<usize, String> {
    const LARGEST: usize = 15 << 20;
    match text.parse() {
        Ok(bytes) if (STAMP_BYTES..=LARGEST).contains(&bytes) => Ok(bytes),
        _ => Err(format!("expected {STAMP_BYTES} to {LARGEST} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_and_times_have_ranges() {
        assert!(body_bytes("31").is_err() && body_bytes("x").is_err() && body_bytes("32").is_ok());
        assert!(seconds("-1").is_err() && seconds("NaN").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
    }
}
