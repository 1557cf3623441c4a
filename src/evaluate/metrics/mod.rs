//! Figures of merit over what a model said and what is true. Pure: numbers in, numbers out.
//!
//! | file | what it holds |
//! |---|---|
//! | `ranking.rs` | scores of images: AUROC, precision, recall at a rate; percentiles |
//! | `pixels.rs` | scores of pixels: AUROC and AUPRO, map after map, in bounded memory |
//! | `confusion.rs` | classes of images or of pixels: confusion matrix, precision and recall, intersection over union, Dice |
//! | `overlap.rs` | how much two boxes or two masks overlap |
//! | `outline.rs` | outlines of annotations as masks |
//! | `average_precision.rs` | found objects against true ones: mAP and AR as COCO defines them |
//! | `average_precision/matching.rs` | which found object is which true one |
//!
//! A figure that its data cannot support (a class is missing, a score is NaN, sizes differ) is `None`, never a number that looks like one.
//! Each figure is held against what a program of others computes: scikit-learn, `SciPy`, pycocotools (`tests/fixtures/`).

pub mod average_precision;
pub mod confusion;
pub mod outline;
pub mod overlap;
pub mod pixels;
pub mod ranking;

pub use self::ranking::{
    PrecisionPoint, ROUNDING, Recall, RocPoint, auroc, average_precision, percentile, precision_curve, recall_at_false_reject, roc_curve,
};
