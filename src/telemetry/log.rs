//! The log: one line an entry on stderr. Set up once by main.

use tracing::level_filters::LevelFilter;

/// `EnvFilter` would add 0.5 MB for what one level says.
pub fn start(level: LevelFilter) {
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}
