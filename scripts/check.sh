#!/usr/bin/env bash
# The static part of the tests: formatting, lints, documentation, architecture, dependencies.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
need_rust

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
# The store knows nothing of networking: it has to build without it.
cargo check -p store --locked
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
if cargo deny --version >/dev/null 2>&1; then
    cargo deny check
else
    echo "skipped: cargo deny (not installed)"
fi
