//! Bytes that a process exchanges with the API server, from the kernel's counters of its TCP
//! connections, as `ss` tells them. Payload of TCP, so TLS and HTTP are in it, IP headers are not.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::process;

/// One connection's counters at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counters {
    received: u64,
    sent: u64,
}

/// Adds up what goes over a process's connections while it is looked at from time to time. A
/// connection that is opened and closed between two looks is missed; that is why one looks often.
pub struct Wire {
    pid: u32,
    server_port: u16,
    last: BTreeMap<u64, Counters>,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    /// At the latest look.
    pub connections: usize,
}

impl Wire {
    /// `server_port`: only connections to it count.
    pub fn begin(pid: u32, server_port: u16) -> Result<Wire> {
        let last = connections(pid, server_port)?;
        let connections = last.len();
        Ok(Wire { pid, server_port, last, received_bytes: 0, sent_bytes: 0, connections })
    }

    pub fn look(&mut self) -> Result<()> {
        let now = connections(self.pid, self.server_port)?;
        for (inode, counters) in &now {
            let before = self.last.get(inode).copied().unwrap_or_default();
            self.received_bytes += counters.received.saturating_sub(before.received);
            self.sent_bytes += counters.sent.saturating_sub(before.sent);
        }
        self.connections = now.len();
        self.last = now;
        Ok(())
    }
}

fn connections(pid: u32, server_port: u16) -> Result<BTreeMap<u64, Counters>> {
    let inodes = process::sockets(pid)?;
    let text = command::output(Command::new("ss").args([
        "--tcp",
        "--info",
        "--extended",
        "--numeric",
        "--no-header",
        "--oneline",
        "state",
        "established",
        "dport",
        "=",
        &format!(":{server_port}"),
    ]))?;
    Ok(parse(&text, &inodes))
}

fn parse(text: &str, inodes: &BTreeSet<u64>) -> BTreeMap<u64, Counters> {
    let connection = |line: &str| {
        let value = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)?.parse::<u64>().ok());
        let inode = value("ino:").filter(|inode| inodes.contains(inode))?;
        Some((
            inode,
            Counters {
                received: value("bytes_received:").unwrap_or(0),
                sent: value("bytes_acked:").or(value("bytes_sent:")).unwrap_or(0),
            },
        ))
    };
    text.lines().filter_map(connection).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_s_own_connections_count() {
        let text = "0 0 127.0.0.1:40000 127.0.0.1:6443 timer:(keepalive,15sec,0) ino:11 sk:9 <-> ts bytes_sent:360 bytes_acked:355 bytes_received:529 segs_out:1\n\
                    0 0 127.0.0.1:40001 127.0.0.1:6443 ino:12 sk:a <-> bytes_received:5\n\
                    0 0 127.0.0.1:40002 127.0.0.1:6443 ino:13 sk:b <-> ts sack\n";
        let parsed = parse(text, &BTreeSet::from([11, 13]));
        let expected = [(11, Counters { received: 529, sent: 355 }), (13, Counters::default())];
        assert_eq!(parsed, BTreeMap::from(expected));
    }
}
