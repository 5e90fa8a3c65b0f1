//! CPU time and memory of a process, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

/// What a process has used so far, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time in user mode; the kernel counts in ticks of usually 10 ms.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Anonymous memory: heap, stacks; without mapped files and page cache.
    pub rss_anon_bytes: u64,
    /// All resident memory.
    pub vm_rss_bytes: u64,
}

impl Usage {
    /// Of process `pid`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{pid}/{name}"))
                .with_context(|| format!("read /proc/{pid}/{name}"))
        };
        let (stat, status) = (read("stat")?, read("status")?);
        let ticks = rustix::param::clock_ticks_per_second();
        parse(&stat, &status, ticks)
            .ok_or_else(|| anyhow!("/proc/{pid}/stat or status has another form than expected"))
    }

    /// User and kernel time together.
    pub fn cpu(&self) -> Duration {
        self.user + self.system
    }
}

fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Usage> {
    // The second field is the command in parentheses and may contain anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || {
        let ticks: u64 = fields.next()?.parse().ok()?;
        Some(Duration::from_micros(
            ticks * (1_000_000 / ticks_per_second),
        ))
    };
    let kilobytes = |name: &str| -> Option<u64> {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Some(Usage {
        user: ticks()?,
        system: ticks()?,
        rss_anon_bytes: kilobytes("RssAnon")? * 1024,
        vm_rss_bytes: kilobytes("VmRSS")? * 1024,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_files_are_read() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0";
        let status = "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\nRssFile:\t 0 kB\n";
        let usage = parse(stat, status, 100).unwrap();
        assert_eq!(
            (usage.user, usage.system),
            (Duration::from_millis(1500), Duration::from_millis(250))
        );
        assert_eq!(
            (usage.rss_anon_bytes, usage.vm_rss_bytes),
            (1024 * 1024, 2048 * 1024)
        );
        assert_eq!(parse(stat, "Name:\tzombie\n", 100), None);
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(Usage::of(std::process::id()).unwrap().rss_anon_bytes > 0);
    }
}
