//! Requests a name server serves.
