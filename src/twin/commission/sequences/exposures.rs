//! What the camera sees of a part: nothing, more than there is, or something that nobody announced.

use super::{Script, Sequence};
use crate::line::config::TriggerSource;
use crate::line::error_code::ErrorCode;
use crate::part::{Reason, Verdict};
use crate::twin::commission::step::{Action, Look, Span, Terms, Timer, Value, is, is_not};

pub(super) fn all(terms: &Terms) -> Vec<Sequence> {
    vec![no_exposure(terms), two_exposures(terms), unannounced(terms), nearest(terms)]
}

fn no_exposure(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "no_exposure",
        "No picture of a part",
        "A part that the camera does not show is not decidable, in time, and costs the next part nothing.",
    );
    script.needs_parts().power_up().open(251);
    script.result_with(251, Look::GoodButLate, vec![is("ReasonCode", u32::from(Reason::NoFrame.code()))]);
    script.step(
        "until the next picture can no longer be taken for its own",
        Action::Hold {
            span: Span::Time(terms.exposure_window()),
            checks: vec![is("Accept", 0), is("Busy", 0)],
        },
    );
    script.ready().part(252, Look::Good);
    script
        .records(&[(251, Verdict::NotDecidable, Some(Reason::NoFrame)), (252, Verdict::Ok, None)])
        .done()
}

impl Script<'_> {
    /// A sensor is wired to the camera.
    fn needs_wire(&mut self) -> &mut Self {
        let wired = matches!(self.terms.trigger, TriggerSource::Hardware { .. });
        self.needs_parts()
            .needs(wired, "no sensor is wired to the camera (trigger.source is not \"hardware\")")
    }
}

fn two_exposures(terms: &Terms) -> Sequence {
    let mut script = Script::new(
        terms,
        "two_exposures",
        "Two exposures for one part, wired trigger",
        "When two exposures lie in one arm window nobody knows which one shows the part: it does not pass, however good both are.",
    );
    script.needs_wire().power_up().open(256);
    script.expose(256, Look::Good);
    // No second good part: whatever happens, this one must not pass.
    script.expose(256, Look::Defective);
    script.result_with(
        256,
        Look::GoodButLate,
        vec![is("ReasonCode", u32::from(Reason::Correlation.code()))],
    );
    script.ready().part(257, Look::Good);
    script
        .records(&[(256, Verdict::NotDecidable, Some(Reason::Correlation)), (257, Verdict::Ok, None)])
        .done()
}

fn unannounced(terms: &Terms) -> Sequence {
    let code = u32::from(ErrorCode::FrameWithoutTrigger.code());
    let mut script = Script::new(
        terms,
        "unannounced_part",
        "Part that nobody announced, wired trigger",
        "An exposure without an armed cycle is warned of until ClearError; it opens no part, and the next one passes.",
    );
    script.needs_wire().power_up();
    script.keep(&[("acquisition", "AcquisitionId"), ("total", "CountTotal")]);
    script.step("no part is expected any more", Action::Distance);
    script.expose(0, Look::Good);
    script.expect(
        "the station warns",
        Timer::Result,
        is("ErrorCode", code),
        vec![
            is("Warning", 1),
            is("Error", 0),
            is("TriggerReady", 1),
            is("AcquisitionId", Value::Kept("acquisition")),
            is("CountTotal", Value::Kept("total")),
        ],
    );
    script.set("ClearError", &[("ClearError", 1)]);
    script.expect(
        "the warning is gone",
        Timer::Clear,
        is_not("ErrorCode", code),
        vec![is("Warning", 0)],
    );
    script.set("ClearError falls", &[("ClearError", 0)]);
    script.ready().part(261, Look::Good).records(&[(261, Verdict::Ok, None)]).done()
}

fn nearest(terms: &Terms) -> Sequence {
    let free = matches!(terms.trigger, TriggerSource::FreeRun { .. });
    let mut script = Script::new(
        terms,
        "nearest_frame",
        "Neighbours in view, camera that runs freely",
        "Of several frames the part is judged by the one nearest to its Trigger, not by that of the part before it.",
    );
    script
        .needs_parts()
        .needs(free, "the camera does not run freely (trigger.source is not \"free_run\")")
        .power_up();
    script.expose(0, Look::Defective);
    script.step(
        "the part before it leaves",
        Action::Hold {
            span: Span::Time(std::time::Duration::from_millis(300)),
            checks: vec![is("TriggerReady", 1), is("Busy", 0)],
        },
    );
    script.open(266).expose(266, Look::Good).result(266, Look::Good);
    script.records(&[(266, Verdict::Ok, None)]).done()
}
