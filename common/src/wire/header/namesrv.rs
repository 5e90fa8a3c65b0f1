//! Name server requests.
