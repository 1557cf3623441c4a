//! Listening before the network is there.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen as begin, socket_with, sockopt};

/// Connections that wait to be accepted; as many as the standard library allows.
const WAITING_MAX: i32 = 128;

/// Listens on an address, also on one that no interface has yet: at power-on the cable may be out, or the switch slower than the station. Then
/// it is logged, as it may also be mistyped, and connections arrive once an interface has the address.
///
/// # Errors
/// When the port is taken or forbidden, or the address can never be one of a machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            let listener = listen_early(address)?;
            tracing::warn!(%address, "no interface of this machine has this address yet: connections arrive once one has it");
            Ok(listener)
        }
        bound => bound,
    }
}

fn listen_early(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    bind(&socket, &address)?;
    begin(&socket, WAITING_MAX)?;
    Ok(TcpListener::from(socket))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_come_later_but_a_port_has_one_owner() {
        // Kept for documentation: no machine has it.
        let listener = listen("192.0.2.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert_eq!(address.ip().to_string(), "192.0.2.1");
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // Without its interface a link-local address means nothing.
        assert!(listen("[fe80::1]:0".parse().unwrap()).is_err());
    }
}
