//! How servers and their clients are secured, in any table that has an address: `certificate`, `key`, `client_ca`, `ca`, `insecure`.

#![allow(dead_code, reason = "read by the tables that serve or connect by gRPC")]

use std::net::SocketAddr;
use std::path::Path;

use super::reader::{Answer, Table};
use super::value::{flag, path, socket, title};
use crate::rpc::tls::{ClientSecurity, SecurityConfig, ServerSecurity, listen_policy};

/// `listen`, `certificate`, `key`, `client_ca`, `insecure`: where to serve, and how that is secured. An address that other machines reach must be
/// secured, or be wanted without.
pub(super) fn read_served(table: &mut Table<'_>, folder: &Path) -> Answer<(SocketAddr, SecurityConfig)> {
    let listen = table.required("listen", socket);
    let pair = read_pair(table, folder);
    let client_ca = table.optional("client_ca", path(folder));
    let insecure = table.or("insecure", false, flag);
    let (listen, pair, client_ca, insecure) = (listen?, pair?, client_ca?, insecure?);
    if pair.is_none() && client_ca.is_some() {
        return Err(table.refuse("client_ca", "client_ca is of no use without certificate and key; give them too"));
    }
    if let Err(refusal) = listen_policy(listen, pair.is_some(), insecure) {
        return Err(table.refuse("listen", refusal.to_string()));
    }
    let server = pair.map(|(certificate, key)| ServerSecurity {
        certificate,
        key,
        client_ca,
    });
    Ok((listen, SecurityConfig { server, insecure }))
}

/// `ca`, `certificate`, `key`, `server_name`: whom a client trusts, and what it shows of itself; `None` for a plain connection.
pub(super) fn read_client(table: &mut Table<'_>, folder: &Path) -> Answer<Option<ClientSecurity>> {
    let ca = table.optional("ca", path(folder));
    let identity = read_pair(table, folder);
    let server_name = table.optional("server_name", title);
    match (ca?, identity?, server_name?) {
        (Some(ca), identity, server_name) => Ok(Some(ClientSecurity { ca, identity, server_name })),
        (None, None, None) => Ok(None),
        (None, ..) => Err(table.refuse(
            "ca",
            "ca is missing; give the certificate of the authority that the server's is signed by",
        )),
    }
}

fn read_pair(table: &mut Table<'_>, folder: &Path) -> Answer<Option<(std::path::PathBuf, std::path::PathBuf)>> {
    let certificate = table.optional("certificate", path(folder));
    let key = table.optional("key", path(folder));
    match (certificate?, key?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(table.refuse("key", "key is missing; give the private key of the certificate")),
        (None, Some(_)) => Err(table.refuse("certificate", "certificate is missing; give the one that the key belongs to")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reader::Document;

    fn served(lines: &str) -> Result<(SocketAddr, SecurityConfig), String> {
        read(lines, |table| read_served(table, Path::new("/etc/takt")))
    }

    fn read<T>(lines: &str, read: impl FnOnce(&mut Table<'_>) -> Answer<T>) -> Result<T, String> {
        let text = format!("config_version = 1\n[grpc]\n{lines}\n");
        let document = Document::new(Path::new("station.toml"), text.into_bytes()).unwrap();
        document
            .read("the station", |root| root.table("grpc", read))
            .map_err(|errors| errors.to_string())
    }

    #[test]
    fn a_server_is_secured_or_stays_at_home() {
        let (listen, security) = served("listen = \"127.0.0.1:0\"").unwrap();
        assert!(listen.ip().is_loopback() && security == SecurityConfig::default());
        let everywhere = "listen = \"0.0.0.0:7443\"\n";
        assert!(
            served(everywhere).unwrap_err().contains("station.toml:3:10: failed to read [grpc]"),
            "{:?}",
            served(everywhere)
        );
        assert!(served(&format!("{everywhere}insecure = true")).unwrap().1.insecure);
        let (_, secured) = served(&format!(
            "{everywhere}certificate = \"a.pem\"\nkey = \"a.key\"\nclient_ca = \"ca.pem\""
        ))
        .unwrap();
        let server = secured.server.unwrap();
        assert_eq!(
            (server.certificate, server.client_ca),
            ("/etc/takt/a.pem".into(), Some("/etc/takt/ca.pem".into()))
        );
    }

    #[test]
    fn halves_are_refused() {
        let local = "listen = \"127.0.0.1:0\"\n";
        for (half, reason) in [
            ("certificate = \"a.pem\"", "key is missing"),
            ("key = \"a.key\"", "certificate is missing"),
            ("client_ca = \"ca.pem\"", "of no use without"),
        ] {
            let said = served(&format!("{local}{half}")).unwrap_err();
            assert!(said.contains(reason), "{said}");
        }
        assert!(served("").unwrap_err().contains("listen is missing"));
    }

    #[test]
    fn a_client_trusts_somebody_or_speaks_plain() {
        let client = |lines| read(lines, |table| read_client(table, Path::new("/etc/takt")));
        assert_eq!(client("").unwrap(), None);
        assert_eq!(client("ca = \"ca.pem\"").unwrap().unwrap().ca, Path::new("/etc/takt/ca.pem"));
        assert!(
            client("certificate = \"a.pem\"\nkey = \"a.key\"")
                .unwrap_err()
                .contains("ca is missing")
        );
        assert!(
            client("ca = \"ca.pem\"\nkey = \"a.key\"")
                .unwrap_err()
                .contains("certificate is missing")
        );
    }
}
