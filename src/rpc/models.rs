//! The models of a station: listed, and exchanged by those who may.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::Status;

use super::convert;
use super::proto;
use crate::model::activation::{ActivationError, ActivationRequest, Exchanged, InspectionModels, ModelsInForce, ModelsLoading, Wanted};

/// The models of a station.
pub trait StationModels: Send + Sync {
    /// Those in force.
    fn in_force(&self) -> Arc<ModelsInForce>;

    /// How far those of a start are; `None` where none is being loaded.
    fn loading(&self) -> Option<Arc<ModelsLoading>>;

    /// Asks for another; the answer comes when it is in force, or refused.
    fn ask(&self, request: ActivationRequest) -> oneshot::Receiver<Result<Exchanged, ActivationError>>;
}

/// What there is.
pub(super) fn list(models: Option<&dyn StationModels>) -> proto::ListModelsResponse {
    let Some(models) = models else {
        return proto::ListModelsResponse::default();
    };
    let in_force = models.in_force();
    let mut each: Vec<_> = in_force.inspections.iter().map(|of| of.current.clone()).collect();
    each.sort_by(|a, b| a.sha256.cmp(&b.sha256));
    each.dedup();
    proto::ListModelsResponse {
        models: each.iter().map(convert::model).collect(),
        inspections: in_force.inspections.iter().map(inspection).collect(),
        config_checksum: in_force.config_checksum,
    }
}

/// How far those of a start are.
pub(super) fn loading(models: Option<&dyn StationModels>) -> Option<proto::ModelsLoading> {
    let loading = models?.loading()?;
    let count = |count| u32::try_from(count).unwrap_or(u32::MAX);
    Some(proto::ModelsLoading {
        number: count(loading.number),
        of: count(loading.of),
        model: loading.model.display().to_string(),
        provider: loading.provider.clone(),
    })
}

fn inspection(of: &InspectionModels) -> proto::InspectionModel {
    proto::InspectionModel {
        inspection: of.inspection.clone(),
        current: Some(convert::model(&of.current)),
        previous: of.previous.as_ref().map(convert::model),
        configured: of.configured.display().to_string(),
        activated: of.activated,
    }
}

/// Another package.
pub(super) async fn activate(
    models: Option<&dyn StationModels>,
    request: proto::ActivateModelRequest,
    by: String,
) -> Result<proto::ActivateModelResponse, Status> {
    let package = PathBuf::from(request.package);
    if !Path::new(&package).is_absolute() {
        return Err(Status::invalid_argument(format!(
            "failed to find package \"{}\": give its absolute path on the station",
            package.display()
        )));
    }
    let request = ActivationRequest {
        inspection: request.inspection,
        wanted: Wanted::Package(package),
        by,
    };
    ask(models, request).await
}

/// The package before.
pub(super) async fn roll_back(
    models: Option<&dyn StationModels>,
    request: proto::RollbackModelRequest,
    by: String,
) -> Result<proto::ActivateModelResponse, Status> {
    let request = ActivationRequest {
        inspection: request.inspection,
        wanted: Wanted::Previous,
        by,
    };
    ask(models, request).await
}

async fn ask(models: Option<&dyn StationModels>, request: ActivationRequest) -> Result<proto::ActivateModelResponse, Status> {
    let models = models.ok_or_else(|| Status::unavailable("this station does not run; see takt doctor there"))?;
    let answered = models.ask(request).await;
    let answered = answered.map_err(|_| Status::unavailable("the station stops; what is in force shows at its next start"))?;
    answered.map(|exchanged| response(&exchanged)).map_err(|error| status(&error))
}

fn response(exchanged: &Exchanged) -> proto::ActivateModelResponse {
    proto::ActivateModelResponse {
        model: Some(convert::model(&exchanged.model)),
        previous: Some(convert::model(&exchanged.previous)),
        config_checksum: exchanged.config_checksum,
        changed: exchanged.changed,
    }
}

fn status(error: &ActivationError) -> Status {
    let told = error.told();
    match error {
        ActivationError::UnknownInspection { .. } | ActivationError::SeveralInspections { .. } => Status::not_found(told),
        ActivationError::Busy => Status::aborted(told),
        ActivationError::NotReady => Status::unavailable(told),
        ActivationError::Online(_)
        | ActivationError::NoPrevious(_)
        | ActivationError::OtherKind { .. }
        | ActivationError::Rules { .. }
        | ActivationError::Signature(_)
        | ActivationError::Package(_) => Status::failed_precondition(told),
        ActivationError::Registry(_) | ActivationError::Station(_) => Status::internal(told),
    }
}
