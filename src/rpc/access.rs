//! Who may do what: the client's certificate says who it is (common name) and what it may do (organisational units).
//!
//! That the certificate is genuine and in force has been proven by TLS before any of this is asked.

use tonic::{Request, Status};

use super::certificate::CertificateFacts;

/// What a caller may do. Each of `Read`, `Operate`, `Configure` includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Ask.
    Read,
    /// Give cycles, acknowledge.
    Operate,
    /// Change recipes and models.
    Configure,
    /// Deliver the records of the station whose name is in the certificate.
    Station,
}

impl Role {
    /// The word in certificates and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Configure => "configure",
            Self::Station => "station",
        }
    }

    /// The role of a word; `None` for words that grant nothing.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Operate, Self::Configure, Self::Station]
            .into_iter()
            .find(|role| role.name() == name)
    }

    /// Whether whoever has this role may do what the other one may.
    pub fn includes(self, other: Self) -> bool {
        match (self, other) {
            (Self::Station, other) => other == Self::Station,
            (_, Self::Station) => false,
            (has, asked) => has >= asked,
        }
    }
}

/// How a server decides who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    open: bool,
}

/// Whose certificate it is, and what it grants.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Caller {
    name: String,
    roles: Vec<Role>,
}

impl Access {
    /// Everyone may do everything: on loopback, or where `insecure = true` says so.
    pub fn open() -> Self {
        Self { open: true }
    }

    /// Whoever shows a certificate may do what stands in it: for servers that demand certificates of their clients.
    pub fn mutual() -> Self {
        Self { open: false }
    }

    /// Whether the caller has the role.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a certificate, `PERMISSION_DENIED` without the role.
    pub fn require<T>(&self, request: &Request<T>, role: Role) -> Result<(), Status> {
        if self.open {
            return Ok(());
        }
        caller(request, role)?.require(role)
    }

    /// The caller's name, for log and journal: that in its certificate, else where it calls from.
    pub fn name_of<T>(&self, request: &Request<T>) -> String {
        let known = caller(request, Role::Read).ok().filter(|_| !self.open);
        let unknown = || match request.remote_addr() {
            Some(address) => format!("somebody without a certificate at {}", address.ip()),
            None => "somebody without a certificate".into(),
        };
        known.map_or_else(unknown, |caller| caller.name)
    }

    /// Whether the caller is this station.
    ///
    /// # Errors
    /// As [`Access::require`], and where the certificate names another station.
    pub fn require_station<T>(&self, request: &Request<T>, station: &str) -> Result<(), Status> {
        if self.open {
            return Ok(());
        }
        caller(request, Role::Station)?.require_station(station)
    }
}

fn caller<T>(request: &Request<T>, role: Role) -> Result<Caller, Status> {
    let certificates = request.peer_certs();
    let certificate = certificates.as_ref().and_then(|certificates| certificates.first());
    let facts = certificate.and_then(|der| CertificateFacts::of_der(der).ok());
    let Some(facts) = facts else {
        return Err(Status::unauthenticated(format!(
            "this server knows its callers by their certificates, and none was shown; make one with `takt pki issue --role {}`",
            role.name()
        )));
    };
    Ok(Caller {
        roles: facts.roles.iter().filter_map(|name| Role::from_name(name)).collect(),
        name: facts.name,
    })
}

impl Caller {
    fn require(&self, role: Role) -> Result<(), Status> {
        if self.roles.iter().any(|has| has.includes(role)) {
            return Ok(());
        }
        let name = role.name();
        Err(Status::permission_denied(format!(
            "this needs the role {name}, which the certificate of {:?} does not give; make one that does with `takt pki issue --role {name}`",
            self.name
        )))
    }

    fn require_station(&self, station: &str) -> Result<(), Status> {
        self.require(Role::Station)?;
        if self.name == station {
            return Ok(());
        }
        Err(Status::permission_denied(format!(
            "the certificate of {:?} delivers the records of that station only; make one with `takt pki issue --role station --name` and the \
             station's id",
            self.name
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn caller(name: &str, roles: &[Role]) -> Caller {
        Caller {
            name: name.into(),
            roles: roles.to_vec(),
        }
    }

    #[test]
    fn a_role_includes_the_ones_before_it_and_stations_stand_apart() {
        use Role::{Configure, Operate, Read, Station};
        let includes = [
            (Configure, Read),
            (Configure, Operate),
            (Operate, Read),
            (Read, Read),
            (Station, Station),
        ];
        let excludes = [(Read, Operate), (Operate, Configure), (Station, Read), (Configure, Station)];
        assert!(includes.iter().all(|(has, asked)| has.includes(*asked)));
        assert!(!excludes.iter().any(|(has, asked)| has.includes(*asked)));
        for role in [Configure, Operate, Read, Station] {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        assert_eq!(Role::from_name("historian"), None);
    }

    #[test]
    fn refusals_name_the_remedy() {
        let denied = caller("desk", &[Role::Read]).require(Role::Operate).unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        assert!(denied.message().contains("takt pki issue --role operate"), "{}", denied.message());
        assert!(
            caller("desk", &[]).require(Role::Read).is_err(),
            "a certificate without a role may do nothing"
        );
    }

    #[test]
    fn a_station_speaks_for_itself_only() {
        let station = caller("press-1", &[Role::Station]);
        assert!(station.require_station("press-1").is_ok());
        let denied = station.require_station("press-2").unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
        assert!(denied.message().contains("press-1") && !denied.message().contains("press-2"));
        assert!(caller("press-1", &[Role::Configure]).require_station("press-1").is_err());
    }

    #[test]
    fn without_a_certificate_nobody_is_known() {
        let request = Request::new(());
        let denied = Access::mutual().require(&request, Role::Read).unwrap_err();
        assert_eq!(denied.code(), Code::Unauthenticated);
        assert!(denied.message().contains("--role read"));
        assert!(Access::open().require(&request, Role::Configure).is_ok());
        assert!(Access::open().require_station(&request, "any").is_ok());
        assert!(Access::mutual().require_station(&request, "any").is_err());
    }
}
