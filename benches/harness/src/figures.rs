//! Every figure that a round may have: its key in the JSON, what a reader calls it, and its unit.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    BytesPerMinute,
    BytesPerHour,
    Seconds,
    Milliseconds,
    Percent,
    PerSecond,
    Count,
    /// A count that is an average.
    Ratio,
}

pub struct Figure {
    pub key: &'static str,
    pub label: &'static str,
    pub unit: Unit,
    /// Compared with the peers' at the top of the table: less is better in all of these.
    pub is_headline: bool,
}

pub struct Group {
    pub title: &'static str,
    pub figures: &'static [Figure],
}

const fn figure(key: &'static str, label: &'static str, unit: Unit) -> Figure {
    Figure { key, label, unit, is_headline: false }
}

const fn headline(key: &'static str, label: &'static str, unit: Unit) -> Figure {
    Figure { key, label, unit, is_headline: true }
}

pub const BINARY_BYTES: &str = "size.binary_bytes";
pub const IMAGE_BYTES: &str = "size.image_bytes";
pub const IMAGE_GZIP_BYTES: &str = "size.image_gzip_bytes";

pub const GROUPS: &[Group] = &[
    Group {
        title: "Started, nothing there",
        figures: &[
            headline("start.rss_bytes", "RSS after 10 s", Unit::Bytes),
            figure("start.working_set_bytes", "Working set (kubelet)", Unit::Bytes),
            figure("start.watching_seconds", "Until all watches are open", Unit::Seconds),
            figure("start.in_sync_seconds", "Until it says it is in sync", Unit::Seconds),
        ],
    },
    Group {
        title: "All created as fast as the API server takes them",
        figures: &[
            headline("create.peak_bytes", "Peak RSS while they are created", Unit::Bytes),
            figure("create.accepted_seconds", "Until all are accepted", Unit::Seconds),
            figure("create.deployments_seconds", "Until all have a Deployment", Unit::Seconds),
            figure("create.ready_seconds", "Until all are Ready", Unit::Seconds),
            headline("create.cpu_seconds", "CPU time to bring them to Ready", Unit::Seconds),
            figure("create.requests_per_cr", "Requests an InferenceService", Unit::Ratio),
            figure("create.writes_per_cr", "of these, writes", Unit::Ratio),
        ],
    },
    Group {
        title: "Settled",
        figures: &[
            headline("settled.rss_bytes", "RSS, settled", Unit::Bytes),
            figure("settled.anonymous_bytes", "of this, anonymous", Unit::Bytes),
            figure("settled.file_bytes", "of this, file-backed", Unit::Bytes),
            figure("settled.working_set_bytes", "Working set (kubelet)", Unit::Bytes),
            headline("settled.cpu_percent", "CPU while settled, of one core", Unit::Percent),
            figure("settled.voluntary_switches_per_second", "Wake-ups (voluntary context switches)", Unit::PerSecond),
            figure("settled.involuntary_switches_per_second", "Involuntary context switches", Unit::PerSecond),
            figure("settled.received_bytes_per_minute", "Received from the API server", Unit::BytesPerMinute),
            figure("settled.sent_bytes_per_minute", "Sent to it", Unit::BytesPerMinute),
            figure("settled.wire_bytes_per_hour_per_watch", "Both ways, an hour and a watch", Unit::BytesPerHour),
            figure("settled.connections", "Connections to it", Unit::Count),
            figure("settled.requests", "Requests in the whole phase, watches apart", Unit::Count),
            figure("settled.writes", "Write requests in the whole phase", Unit::Count),
        ],
    },
    Group {
        title: "Spec changed, one at a time: until the Deployment has its new generation",
        figures: &[
            figure("one.p50_milliseconds", "P50", Unit::Milliseconds),
            headline("one.p99_milliseconds", "P99, specs changed one at a time", Unit::Milliseconds),
            figure("one.max_milliseconds", "Longest", Unit::Milliseconds),
            figure("one.reconcile_p50_milliseconds", "The operator's own histogram, P50", Unit::Milliseconds),
            figure("one.reconcile_p99_milliseconds", "The operator's own histogram, P99", Unit::Milliseconds),
            figure("one.writes_per_change", "Writes a change", Unit::Ratio),
            figure(
                "one.server_p50_milliseconds",
                "The API server's time for a reconcile's requests, P50",
                Unit::Milliseconds,
            ),
            figure(
                "one.server_p99_milliseconds",
                "The API server's time for a reconcile's requests, P99",
                Unit::Milliseconds,
            ),
            figure("one.busy_p50_milliseconds", "From its first request to its last answer, P50", Unit::Milliseconds),
            figure("one.busy_p99_milliseconds", "From its first request to its last answer, P99", Unit::Milliseconds),
            figure("one.p50_to_server", "of this, times the API server's, P50", Unit::Ratio),
            figure("one.p99_to_server", "of this, times the API server's, P99", Unit::Ratio),
            figure("one.pairs", "Reconciles with a write that both clocks could time", Unit::Count),
            figure("one.own_p50_milliseconds", "The operator's own time of these, P50", Unit::Milliseconds),
            figure("one.own_p99_milliseconds", "The operator's own time of these, P99", Unit::Milliseconds),
            figure("one.reconcile_p50_to_server", "P50, times the API server's for the same requests", Unit::Ratio),
            figure("one.reconcile_p99_to_server", "P99, times the API server's for the same requests", Unit::Ratio),
            figure(
                "one.reconcile_to_server",
                "Reconciles in all, by its own histogram, times the API server's",
                Unit::Ratio,
            ),
        ],
    },
    Group {
        title: "Specs changed in a burst",
        figures: &[
            figure("burst.p50_milliseconds", "P50", Unit::Milliseconds),
            headline("burst.p99_milliseconds", "P99, specs changed in a burst", Unit::Milliseconds),
            figure("burst.max_milliseconds", "Longest", Unit::Milliseconds),
            figure("burst.reconcile_p50_milliseconds", "The operator's own histogram, P50", Unit::Milliseconds),
            figure("burst.reconcile_p99_milliseconds", "The operator's own histogram, P99", Unit::Milliseconds),
            figure("burst.writes_per_change", "Writes a change", Unit::Ratio),
        ],
    },
    Group {
        title: "Started again, all settled",
        figures: &[
            headline("restart.peak_bytes", "Peak RSS at a restart", Unit::Bytes),
            figure("restart.rss_bytes", "RSS after it", Unit::Bytes),
            headline("restart.settled_seconds", "Started again, until it is settled", Unit::Seconds),
            figure("restart.in_sync_seconds", "Until it says it is in sync", Unit::Seconds),
            figure("restart.cpu_seconds", "CPU time", Unit::Seconds),
            figure("restart.requests", "Requests, watches apart", Unit::Count),
            figure("restart.writes", "Write requests", Unit::Count),
        ],
    },
    Group {
        title: "Foreign Deployments, Services, Secrets and ConfigMaps",
        figures: &[
            figure("noise.rss_before_bytes", "RSS before", Unit::Bytes),
            figure("noise.rss_after_bytes", "RSS after", Unit::Bytes),
            headline("noise.growth_bytes", "Growth through foreign objects", Unit::Bytes),
            figure("noise.peak_bytes", "Peak RSS", Unit::Bytes),
        ],
    },
    Group {
        title: "InferenceServices of 500 kB of metadata (100; 20 with --quick)",
        figures: &[
            figure("bulky.rss_before_bytes", "RSS before", Unit::Bytes),
            figure("bulky.rss_after_bytes", "RSS after", Unit::Bytes),
            headline("bulky.growth_bytes", "Growth through InferenceServices of 500 kB", Unit::Bytes),
            figure("bulky.peak_bytes", "Peak RSS", Unit::Bytes),
        ],
    },
    Group {
        title: "Churn: specs changed, InferenceServices deleted and made again (--soak)",
        figures: &[
            figure("soak.changes", "Specs changed", Unit::Count),
            figure("soak.recreations", "Deleted and made again", Unit::Count),
            figure("soak.writes", "Writes of the operator", Unit::Count),
            figure("soak.first_rss_bytes", "RSS at rest after the first minute", Unit::Bytes),
            figure("soak.last_rss_bytes", "RSS at rest in the end", Unit::Bytes),
            figure("soak.growth_percent", "Growth", Unit::Percent),
            figure("soak.peak_bytes", "Peak RSS between the two", Unit::Bytes),
            figure("soak.first_files", "File descriptors after the first minute", Unit::Count),
            figure("soak.last_files", "File descriptors in the end", Unit::Count),
            figure("soak.first_sockets", "of these, sockets, after the first minute", Unit::Count),
            figure("soak.last_sockets", "of these, sockets, in the end", Unit::Count),
        ],
    },
    Group {
        title: "Program",
        figures: &[
            headline("gc.longest_pause_seconds", "Longest pause of the garbage collector", Unit::Seconds),
            headline(BINARY_BYTES, "Binary", Unit::Bytes),
            headline(IMAGE_BYTES, "Image, as stored", Unit::Bytes),
            headline(IMAGE_GZIP_BYTES, "Image, as pulled", Unit::Bytes),
        ],
    },
];

pub fn headlines() -> impl Iterator<Item = &'static Figure> {
    GROUPS.iter().flat_map(|group| group.figures).filter(|figure| figure.is_headline)
}

pub fn unit(key: &str) -> Option<Unit> {
    GROUPS.iter().flat_map(|group| group.figures).find(|figure| figure.key == key).map(|figure| figure.unit)
}

/// For a person: three digits that count, and the unit. A megabyte is 1,000,000 bytes.
pub fn format(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Bytes => bytes(value),
        Unit::BytesPerMinute => format!("{}/min", bytes(value)),
        Unit::BytesPerHour => format!("{}/h", bytes(value)),
        Unit::Seconds if value < 1.0 => format!("{} ms", digits(value * 1_000.0)),
        Unit::Seconds => format!("{} s", digits(value)),
        Unit::Milliseconds if value >= 1_000.0 => format!("{} s", digits(value / 1_000.0)),
        Unit::Milliseconds => format!("{} ms", digits(value)),
        Unit::Percent => format!("{} %", digits(value)),
        Unit::PerSecond => format!("{}/s", digits(value)),
        Unit::Count => whole(value),
        Unit::Ratio => digits(value),
    }
}

fn bytes(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        format!("{} MB", digits(value / 1e6))
    } else if size >= 1e3 {
        format!("{} kB", digits(value / 1e3))
    } else {
        format!("{} B", whole(value))
    }
}

fn digits(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 {
        whole(value)
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.005 || size == 0.0 {
        let text = format!("{value:.2}");
        text.strip_suffix(".00").map(str::to_owned).unwrap_or(text)
    } else {
        format!("{value:.4}")
    }
}

/// With commas between thousands.
pub fn whole(value: f64) -> String {
    let plain = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (position, digit) in plain.chars().enumerate() {
        if position > 0 && (plain.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value <= -0.5 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_as_a_person_reads_them() {
        for (unit, value, expected) in [
            (Unit::Bytes, 4_123_456.0, "4.12 MB"),
            (Unit::Bytes, 355_200_000.0, "355 MB"),
            (Unit::Bytes, -16_384.0, "-16.4 kB"),
            (Unit::Bytes, 0.0, "0 B"),
            (Unit::BytesPerMinute, 1_234.0, "1.23 kB/min"),
            (Unit::Seconds, 0.0055, "5.50 ms"),
            (Unit::Seconds, 272.4, "272 s"),
            (Unit::Milliseconds, 4_200.0, "4.20 s"),
            (Unit::Percent, 0.0021, "0.0021 %"),
            (Unit::Count, 25_000.0, "25,000"),
            (Unit::Ratio, 4.0, "4"),
        ] {
            assert_eq!(format(unit, value), expected);
        }
    }

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = GROUPS.iter().flat_map(|group| group.figures).map(|figure| figure.key).collect();
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
