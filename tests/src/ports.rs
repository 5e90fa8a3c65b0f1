use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

/// Below the range that outgoing connections take their ports from.
const FIRST: u16 = 12_000;
const SPAN: u16 = 8_000;
/// Ports that belong to one answer: a broker derives its second port by subtracting two.
const STEP: u16 = 8;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// On the first port of every block given out, which nobody uses: other test processes pass such a
/// block by also while the server it was for is down.
static TAKEN: Mutex<Vec<TcpListener>> = Mutex::new(Vec::new());

/// A port of the loopback interface with its lower neighbours free too; each answer, also of other
/// processes that run tests, is another one as long as this process lives.
///
/// # Panics
/// When the whole range is taken.
pub fn free_port() -> u16 {
    // Processes that run side by side start at different places.
    let start = u16::try_from(std::process::id() % u32::from(SPAN / STEP)).unwrap_or(0);
    for _ in 0..SPAN / STEP {
        let step = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(start) % (SPAN / STEP);
        let port = FIRST + step * STEP;
        let Ok(guard) = TcpListener::bind(("127.0.0.1", port)) else {
            continue;
        };
        if (port + 1..port + 4).all(|p| TcpListener::bind(("127.0.0.1", p)).is_ok()) {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            taken.push(guard);
            return port + 3;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + SPAN);
}
