//! TLS over loopback: who is let in and who is not, what each side is told, and that nobody else is disturbed. The certificates are those of
//! `takt pki`; OpenSSL and Python look at them too.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use takt::rpc::access::Access;
use takt::rpc::connections::incoming;
use takt::rpc::pki::{self, AUTHORITY_CERTIFICATE, Purpose, Wanted};
use takt::rpc::proto::station_service_client::StationServiceClient;
use takt::rpc::proto::{ActivateModelRequest, ControlRequest, GetStatusRequest, RollbackModelRequest};
use takt::rpc::tls::{ClientSecurity, ServerSecurity, connection_failure};
use tokio::net::TcpListener;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Server};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::played_line::{PlayedLine, Wishes};
use crate::skip::skip;

/// Who could not be let in, and why: tonic says so at this place.
const SERVER_LOG: &str = "warn,tonic::transport::server::io_stream=debug";

/// What a server logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const DAY_S: i64 = 24 * 3600;

/// An authority and what it issued.
struct Plant {
    folder: tempfile::TempDir,
}

impl Plant {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = pki::new_authority(name, 2, now() - 100 * DAY_S).unwrap();
        pki::write_authority(folder.path(), &authority).unwrap();
        Self { folder }
    }

    fn ca(&self) -> PathBuf {
        self.folder.path().join(AUTHORITY_CERTIFICATE)
    }

    /// Certificate and key of somebody.
    fn issue(&self, name: &str, purpose: Purpose) -> (PathBuf, PathBuf) {
        self.issue_at(name, purpose, now(), 90)
    }

    fn issue_at(&self, name: &str, purpose: Purpose, at: i64, days: u32) -> (PathBuf, PathBuf) {
        let hosts = if matches!(purpose, Purpose::Station | Purpose::Historian) {
            vec!["127.0.0.1".into(), "localhost".into()]
        } else {
            Vec::new()
        };
        let wanted = Wanted {
            name: name.into(),
            purpose,
            hosts,
            days,
        };
        let issued = pki::issue(self.folder.path(), &wanted, at).unwrap();
        pki::write_issued(self.folder.path(), name, &issued).unwrap()
    }

    /// A station that asks its clients for certificates.
    fn station(&self) -> PlayedLine {
        let (certificate, key) = self.issue("press-1", Purpose::Station);
        let security = ServerSecurity {
            certificate,
            key,
            client_ca: Some(self.ca()),
        };
        let (tls, warnings) = security.load().unwrap();
        assert_eq!(warnings, []);
        PlayedLine::start(Wishes {
            access: security.access(),
            tls: Some(tls),
            ..Wishes::default()
        })
    }

    fn client(&self, identity: Option<(PathBuf, PathBuf)>) -> ClientTlsConfig {
        let security = ClientSecurity {
            ca: self.ca(),
            identity,
            server_name: None,
        };
        security.load().unwrap().0
    }
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Without the checks of a client that means well.
fn unchecked(ca: &Path, (certificate, key): (PathBuf, PathBuf)) -> ClientTlsConfig {
    let read = |path: &Path| fs::read(path).unwrap();
    ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(ca)))
        .identity(Identity::from_pem(read(&certificate), read(&key)))
}

async fn connect(line: &PlayedLine, scheme: &str, tls: Option<ClientTlsConfig>) -> Result<StationServiceClient<Channel>, String> {
    let endpoint = Endpoint::from_shared(format!("{scheme}://{}", line.address)).unwrap();
    let endpoint = match tls {
        Some(tls) => endpoint.tls_config(tls).unwrap(),
        None => endpoint,
    };
    let channel = endpoint.connect().await.map_err(|error| connection_failure(&error))?;
    Ok(StationServiceClient::new(channel))
}

/// What a client is told that asks for the status; with TLS 1.3 it hears of its own certificate only then.
async fn asked(line: &PlayedLine, scheme: &str, tls: Option<ClientTlsConfig>) -> Result<(), String> {
    let mut client = connect(line, scheme, tls).await?;
    let answered = client.get_status(GetStatusRequest {}).await;
    answered.map(drop).map_err(|status| connection_failure(&status))
}

async fn control(client: &mut StationServiceClient<Channel>) -> Result<(), Status> {
    client.control(tokio_stream::empty::<ControlRequest>()).await.map(drop)
}

#[tokio::test]
async fn each_who_is_not_let_in_is_told_why_and_disturbs_nobody() {
    let (plant, other, namesake) = (Plant::new("Plant CA"), Plant::new("Other CA"), Plant::new("Plant CA"));
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(SERVER_LOG)
        .with_ansi(false)
        .with_writer(log.clone())
        .finish();
    let station = tracing::subscriber::with_default(subscriber, || plant.station());
    let desk = plant.issue("desk", Purpose::Operate);
    let mut good = connect(&station, "https", Some(plant.client(Some(desk.clone())))).await.unwrap();
    good.get_status(GetStatusRequest {}).await.unwrap();

    let stolen_name = namesake.issue("desk", Purpose::Operate);
    let stranger = other.issue("desk", Purpose::Operate);
    let expired = plant.issue_at("late", Purpose::Operate, now() - 60 * DAY_S, 30);
    let server_only = plant.issue("archive", Purpose::Historian);
    let cases = [
        (
            "the server of another authority",
            asked(&station, "https", Some(other.client(None))).await,
            "signed by another authority",
        ),
        (
            "the server of an authority that took its name",
            asked(&station, "https", Some(namesake.client(None))).await,
            "of the same name",
        ),
        (
            "no certificate",
            asked(&station, "https", Some(plant.client(None))).await,
            "the server asks for a certificate",
        ),
        (
            "a certificate of another authority",
            asked(&station, "https", Some(unchecked(&plant.ca(), stranger))).await,
            "authority of this certificate",
        ),
        (
            "a certificate of an authority that took its name",
            asked(&station, "https", Some(unchecked(&plant.ca(), stolen_name))).await,
            "issued by the server's authority",
        ),
        (
            "a certificate that expired",
            asked(&station, "https", Some(unchecked(&plant.ca(), expired))).await,
            "this certificate has expired",
        ),
        (
            "a certificate for servers",
            asked(&station, "https", Some(unchecked(&plant.ca(), server_only))).await,
            "the role that fits",
        ),
        (
            "plain text to a TLS port",
            asked(&station, "http", None).await,
            "connect with https://",
        ),
    ];
    for (case, said, remedy) in cases {
        let said = said.expect_err(case);
        assert!(
            said.contains(remedy) || (said.contains("its log says why") && !remedy.contains("another authority")),
            "{case}: {said}"
        );
    }
    let plain = PlayedLine::start(Wishes::default());
    let said = asked(&plain, "https", Some(plant.client(Some(desk)))).await.unwrap_err();
    assert!(said.contains("the server speaks no TLS"), "{said}");
    good.get_status(GetStatusRequest {}).await.unwrap();
    asked(&plain, "http", None).await.unwrap();
    // The server ends with its log written.
    drop(station);
    let written = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for reason in [
        "sent no certificates",
        "BadSignature",
        "UnknownIssuer",
        "expired",
        "extended key usage",
        "InvalidContentType",
    ] {
        assert!(written.contains(reason), "{reason}: {written}");
    }
}

#[tokio::test]
async fn a_certificate_gives_its_role_and_no_more() {
    let plant = Plant::new("Plant CA");
    let station = plant.station();
    let mut clients = Vec::new();
    for (name, purpose) in [
        ("eye", Purpose::Read),
        ("desk", Purpose::Operate),
        ("boss", Purpose::Configure),
        ("press-2", Purpose::Station),
    ] {
        let identity = plant.issue(name, purpose);
        clients.push(connect(&station, "https", Some(plant.client(Some(identity)))).await.unwrap());
    }
    let mut codes = Vec::new();
    for client in &mut clients {
        let read = client
            .get_status(GetStatusRequest {})
            .await
            .map_or_else(|status| status.code(), |_| Code::Ok);
        let operate = control(client).await.map_or_else(|status| status.code(), |()| Code::Ok);
        let rolled_back = client.rollback_model(RollbackModelRequest::default()).await;
        let activated = client
            .activate_model(ActivateModelRequest {
                package: "/p".into(),
                ..Default::default()
            })
            .await;
        let configure = [rolled_back, activated].map(|asked| asked.map_or_else(|status| status.code(), |_| Code::Ok));
        codes.push((read, operate, configure));
    }
    let denied = Code::PermissionDenied;
    // Behind this server there is no station that has models.
    let none = Code::Unavailable;
    assert_eq!(
        codes,
        [
            (Code::Ok, denied, [denied; 2]),
            (Code::Ok, Code::Ok, [denied; 2]),
            (Code::Ok, Code::Ok, [none; 2]),
            (denied, denied, [denied; 2])
        ]
    );
    let told = control(&mut clients[0]).await.unwrap_err();
    assert!(told.message().contains("takt pki issue --role operate"), "{told}");
}

#[tokio::test]
async fn a_station_delivers_under_its_own_name_only() {
    let plant = Plant::new("Plant CA");
    let (certificate, key) = plant.issue("archive", Purpose::Historian);
    let security = ServerSecurity {
        certificate,
        key,
        client_ca: Some(plant.ca()),
    };
    // Any service will do: who may call it is what counts.
    let (_reporter, service) = tonic_health::server::health_reporter();
    let access = security.access();
    let service = InterceptedService::new(service, move |request: Request<()>| {
        access.require_station(&request, "press-1").map(|()| request)
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder()
        .tls_config(security.load().unwrap().0)
        .unwrap()
        .add_service(service);
    let server = tokio::spawn(server.serve_with_incoming(incoming(listener)));
    let mut told = Vec::new();
    for (name, purpose) in [
        ("press-1", Purpose::Station),
        ("press-2", Purpose::Station),
        ("desk", Purpose::Configure),
    ] {
        let identity = plant.issue(name, purpose);
        let endpoint = Endpoint::from_shared(format!("https://{address}")).unwrap();
        let channel = endpoint.tls_config(plant.client(Some(identity))).unwrap().connect().await.unwrap();
        let answered = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
        told.push(answered.map_or_else(|status| (status.code(), status.message().to_owned()), |_| (Code::Ok, String::new())));
    }
    server.abort();
    assert_eq!(told[0].0, Code::Ok);
    assert!(
        told[1].0 == Code::PermissionDenied && told[1].1.contains("press-2") && told[1].1.contains("that station only"),
        "{told:?}"
    );
    assert!(
        told[2].0 == Code::PermissionDenied && told[2].1.contains("--role station"),
        "{told:?}"
    );
}

/// Access that wants certificates behind a server that does not ask for any.
#[tokio::test]
async fn whoever_shows_nothing_may_do_nothing() {
    let line = PlayedLine::start(Wishes {
        access: Access::mutual(),
        ..Wishes::default()
    });
    let mut client = connect(&line, "http", None).await.unwrap();
    let told = client.get_status(GetStatusRequest {}).await.unwrap_err();
    assert_eq!(told.code(), Code::Unauthenticated);
    assert!(told.message().contains("takt pki issue --role read"), "{told}");
}

fn said(command: &mut Command) -> Option<(bool, String)> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => {
            skip("security", &format!("{} cannot be run: {error}", command.get_program().display()));
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((output.status.success(), text))
}

#[test]
fn openssl_finds_the_certificates_as_they_should_be() {
    let plant = Plant::new("Plant CA");
    let (station, _) = plant.issue("press-1", Purpose::Station);
    let (desk, _) = plant.issue("desk", Purpose::Operate);
    let verify = |purpose: &str, file: &Path| {
        said(
            Command::new("openssl")
                .args(["verify", "-x509_strict", "-purpose", purpose, "-CAfile"])
                .arg(plant.ca())
                .arg(file),
        )
    };
    for (purpose, file, fits) in [
        ("sslserver", &station, true),
        ("sslclient", &station, true),
        ("sslclient", &desk, true),
        ("sslserver", &desk, false),
    ] {
        let Some((verified, text)) = verify(purpose, file) else { return };
        assert_eq!(verified, fits, "{purpose} {}: {text}", file.display());
    }
    let text = |file: &Path| {
        said(Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(file))
            .unwrap()
            .1
    };
    let (root, leaf) = (text(&plant.ca()), text(&station));
    for part in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "prime256v1", "CN = Plant CA"] {
        assert!(root.contains(part), "{part}: {root}");
    }
    for part in [
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "DNS:localhost",
        "IP Address:127.0.0.1",
        "Authority Key Identifier",
        "OU = station",
    ] {
        assert!(leaf.contains(part), "{part}: {leaf}");
    }
}

#[test]
fn a_python_client_shakes_hands_with_a_station() {
    const HANDSHAKE: &str = "
import socket, ssl, sys
port, ca, certificate, key = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.load_cert_chain(certificate, key)
context.set_alpn_protocols(['h2'])
with socket.create_connection(('127.0.0.1', int(port))) as plain:
    with context.wrap_socket(plain, server_hostname='localhost') as secured:
        subject = dict(entry[0] for entry in secured.getpeercert()['subject'])
        # The server's first frame comes only after it has accepted our certificate.
        frame = secured.recv(9)
        print(subject['commonName'], subject['organizationalUnitName'], secured.version(), secured.selected_alpn_protocol(), len(frame))
";
    let plant = Plant::new("Plant CA");
    let station = plant.station();
    let (certificate, key) = plant.issue("desk", Purpose::Operate);
    let mut python = Command::new("python3");
    python.args(["-c", HANDSHAKE]).arg(station.address.port().to_string());
    let Some((done, text)) = said(python.args([plant.ca(), certificate, key])) else {
        return;
    };
    assert!(done && text.trim() == "press-1 station TLSv1.3 h2 9", "{text}");
}
