//! The socket of the telemetry port: on every IPv6 and IPv4 address, or on one. Opened by main before anything else;
//! must not depend on what is served there.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted; tokio's default.
const BACKLOG: i32 = 1024;

/// Listens on `address`. `[::]` means every address of the node: without IPv6, it falls back to those of IPv4. `bind`:
/// see below.
pub fn on<T>(address: SocketAddr, bind: impl Fn(SocketAddr) -> Result<T, Error>) -> Result<T, Error> {
    match bind(address) {
        // A port in use does not mean that IPv6 is missing.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && error.kind() != ErrorKind::AddrInUse => {
            bind((Ipv4Addr::UNSPECIFIED, address.port()).into())
        }
        result => result,
    }
}

/// A socket on `[::]` accepts IPv4 too, even if the node's default is otherwise (net.ipv6.bindv6only).
pub fn bind(address: SocketAddr) -> Result<TcpListener, Error> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // Makes the port available again at once after a restart.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: SocketAddr = SocketAddr::new(std::net::IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080);

    /// The addresses tried, in order, if the first attempt ends like this.
    fn asked(address: SocketAddr, first: ErrorKind) -> (Vec<String>, Result<(), ErrorKind>) {
        let asked = std::cell::RefCell::new(Vec::new());
        let result = on(address, |address| {
            asked.borrow_mut().push(address.to_string());
            if asked.borrow().len() == 1 { Err(first.into()) } else { Ok(()) }
        });
        (asked.into_inner(), result.map_err(|error| error.kind()))
    }

    /// A kernel without IPv6 lacks such sockets (EAFNOSUPPORT), or such addresses.
    #[test]
    fn where_there_is_no_ipv6_it_is_every_address_of_ipv4() {
        for lack in [ErrorKind::AddrNotAvailable, ErrorKind::Unsupported, ErrorKind::Other] {
            assert_eq!(asked(EVERY, lack), (vec!["[::]:8080".into(), "0.0.0.0:8080".into()], Ok(())));
        }
    }

    #[test]
    fn a_port_that_is_taken_and_an_address_that_was_chosen_are_no_lack_of_ipv6() {
        let taken = ErrorKind::AddrInUse;
        assert_eq!(asked(EVERY, taken), (vec!["[::]:8080".into()], Err(taken)));
        for chosen in ["[::1]:8080", "10.0.0.1:8080"] {
            let missing = ErrorKind::AddrNotAvailable;
            assert_eq!(asked(chosen.parse().expect("one"), missing), (vec![chosen.into()], Err(missing)));
        }
    }

    #[test]
    fn every_address_is_of_both_protocols() {
        let listener = on((Ipv6Addr::UNSPECIFIED, 0).into(), bind).expect("bound");
        let address = listener.local_addr().expect("an address");
        let connects = |host: &str| std::net::TcpStream::connect((host, address.port())).map(drop);
        connects("127.0.0.1").expect("IPv4");
        // A machine without IPv6 listens on IPv4 only.
        if address.is_ipv6() {
            assert!(!socket2::SockRef::from(&listener).only_v6().expect("a state"));
            if std::net::TcpListener::bind("[::1]:0").is_ok() {
                connects("::1").expect("IPv6");
            }
        }
    }
}
