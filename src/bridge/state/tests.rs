//! Logs that are saved and taken up again.
