//! An evaluation as one HTML page that stands alone: pictures and charts are inside, nothing is requested, no script runs. It opens from a
//! disk, follows the reader's light or dark scheme, and prints. Pure: data in, text out.
//!
//! | file | what it does |
//! |---|---|
//! | `mod.rs` | the data, and the page from top to bottom |
//! | `outcome.rs` | truth and verdict become outcomes, rates and intervals |
//! | `tables.rs` | tiles, facts and tables |
//! | `classes.rs` | what a classifier or a detector says class by class |
//! | `gallery.rs` | the pictures, worst first |
//! | `line.rs`, `line/books.rs` | what became of the parts on a virtual line; its counts |
//! | `charts.rs`, `charts/` | curves, histograms and bars as SVG |
//! | `html.rs` | text and numbers as HTML |
//! | `style.css` | how it looks |
//!
//! Every rate on the page is computed here from the parts, so the figures cannot contradict the table below them.

mod charts;
mod classes;
mod gallery;
mod html;
mod line;
mod outcome;
mod tables;

pub use self::gallery::{EXAMPLES_SHOWN_MAX, MISTAKES_SHOWN_MAX};
use self::html::text;
pub(crate) use self::html::text as escaped;
pub use self::line::{EvidencePicture, LinePromise, LineRun};
use self::outcome::Summary;
use crate::part::Verdict;

/// Everything the page says. Numbers that are `None` or not finite appear as "not measured".
#[derive(Debug, Clone, Default)]
pub struct EvaluationReport {
    /// Heading and window title, for example the model's name.
    pub title: String,
    /// One line below it: what was evaluated on what.
    pub subtitle: String,
    /// The pictures were rendered by a program; the page then says so in a banner.
    pub rendered_data: bool,
    /// The model: name, version, method, backbone, input size, from how many images it was taught, how its threshold was chosen, ...
    pub model: Vec<Fact>,
    /// The run: machine, provider, command, takt version, date, ...
    pub run: Vec<Fact>,
    /// The one figure that sums up a kind of model beyond ok and not ok: mAP, accuracy, mean overlap of pixels. It gets a tile of its own.
    pub headline: Option<Metric>,
    /// Figures beyond those computed from `parts`: pixel AUROC, AUPRO, memory, ...
    pub metrics: Vec<Metric>,
    /// What a classifier said of the images of each class.
    pub confusion: Option<ClassMatrix>,
    /// How well a detector finds objects.
    pub objects: Option<ObjectFigures>,
    /// Figures by class, by size, ...
    pub tables: Vec<FigureTable>,
    /// The stages of teaching in their order. Empty where the model came from elsewhere.
    pub stages: Vec<Stage>,
    /// Parts that score above it are rejected, in the model's own unit.
    pub threshold: f32,
    /// Every part, in the order of the final table.
    pub parts: Vec<PartRow>,
    /// What became of parts on a virtual line; `None` if none ran.
    pub line: Option<LineRun>,
}

/// A name and what it is, both shown as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about.
    pub name: String,
    /// What is so.
    pub value: String,
}

impl Fact {
    /// A fact from anything that reads as text.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
        }
    }
}

/// One figure of merit.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// What it is called.
    pub name: String,
    /// The figure, in `unit`.
    pub value: Option<f64>,
    /// Digits after the point.
    pub decimals: usize,
    /// Unit, empty for a plain number.
    pub unit: String,
    /// What it means or how it was taken, in a few words.
    pub note: String,
}

/// Classes of images, true against said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassMatrix {
    /// The classes.
    pub classes: Vec<String>,
    /// A row for each true class: how many of its images were said to be of each class.
    pub counts: Vec<Vec<u64>>,
}

/// How well a detector finds objects.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ObjectFigures {
    /// Mean over the classes of the average precision at the overlap of the curves.
    pub average: Option<f64>,
    /// For each class that has objects.
    pub curves: Vec<ObjectCurve>,
    /// Figures by size, shown beside the curves.
    pub by_size: FigureTable,
}

/// How precision falls as more objects of a class are found.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectCurve {
    /// The class.
    pub class: String,
    /// Precision at equally spaced recalls from 0 to 1, shares of 1; as many for each class.
    pub precision: Vec<f64>,
}

/// A table of figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FigureTable {
    /// What it is about.
    pub heading: String,
    /// A sentence below the heading.
    pub words: String,
    /// What a row is of: `class`.
    pub of: String,
    /// The names of the figures.
    pub columns: Vec<String>,
    /// A name and its figures, one for each column.
    pub rows: Vec<(String, Vec<Figure>)>,
}

/// A figure in a table; a dash where there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The figure.
    pub value: Option<f64>,
    /// Digits after the point.
    pub decimals: usize,
}

/// One stage of teaching.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// What was done.
    pub name: String,
    /// How long it took, seconds.
    pub seconds: f64,
}

/// One part: what is true of it and what the model said.
#[derive(Debug, Clone)]
pub struct PartRow {
    /// File name or path of the image, as the reader knows it.
    pub image: String,
    /// What is on it by ground truth: `good`, or its kinds of defect.
    pub kinds: Vec<String>,
    /// Whether the part has a defect; `None` where nobody knows.
    pub truth_defect: Option<bool>,
    /// What was decided.
    pub verdict: Verdict,
    /// The class that a classifier said.
    pub said: Option<String>,
    /// Score, higher is worse; `None` where the part could not be judged.
    pub score: Option<f32>,
    /// Time from decoded image to verdict, microseconds.
    pub latency_us: Option<u64>,
    /// The picture for the gallery. Parts without one show a placeholder.
    pub picture: Option<Picture>,
}

/// An encoded picture.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// Media type, for example `image/jpeg`.
    pub mime: &'static str,
    /// The file's bytes.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}, {} bytes)", self.mime, self.bytes.len())
    }
}

/// Which of `report`'s parts appear in the galleries, as indices into `parts`: only these need a [`Picture`]. At most
/// 2 x [`MISTAKES_SHOWN_MAX`] + 3 x [`EXAMPLES_SHOWN_MAX`].
pub fn pictured_parts(report: &EvaluationReport) -> Vec<usize> {
    gallery::galleries(&report.parts)
        .into_iter()
        .flat_map(|gallery| gallery.shown)
        .collect()
}

/// The page as one HTML document. Its size is about that of the pictures shown (see [`pictured_parts`]) times 4/3, and about 400 bytes per part.
pub fn render(report: &EvaluationReport) -> String {
    let summary = Summary::of(report);
    let title = text(&report.title);
    let banner = if report.rendered_data { RENDERED_DATA } else { "" };
    let line = report.line.as_ref();
    let sections = [
        tables::tiles(&summary, report.headline.as_ref()),
        line.map_or_else(String::new, line::pointer),
        charts_section(report, &summary),
        tables::confusion(&summary),
        classes::sections(report),
        tables::kinds(report),
        gallery::section(report),
        line.map_or_else(String::new, |run| line::section(run, report.rendered_data)),
        tables::metrics(&report.metrics),
        tables::stages(&report.stages),
        tables::facts(report),
        tables::parts(report),
    ]
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n{SHAPES}<main>\n\
         <header><p class=\"eyebrow\">takt evaluation report</p><h1>{title}</h1><p class=\"subtitle\">{}</p>{banner}</header>\n\
         {sections}</main>\n<footer>Written by takt {}. This page is complete in itself: it loads nothing and runs no script.</footer>\n</body>\n</html>\n",
        text(&report.subtitle),
        env!("CARGO_PKG_VERSION"),
    )
}

/// How every page looks.
pub(crate) const STYLE: &str = include_str!("style.css");

const RENDERED_DATA: &str = "<p class=\"banner\"><strong>Rendered parts, not photographs.</strong> The pictures on this page were drawn by a program, \
    good parts and defects alike. The figures show that the software works; they say nothing about real parts.</p>";

/// The shapes of the verdicts, defined once and used by reference: disc, triangle, diamond. They tell verdicts apart without colour.
const SHAPES: &str = "<svg width=\"0\" height=\"0\" class=\"shapes\" aria-hidden=\"true\">\
    <symbol id=\"shape-ok\" viewBox=\"0 0 16 16\"><circle cx=\"8\" cy=\"8\" r=\"7.5\"/><path d=\"M4.5 8.3l2.4 2.4 4.6-5\"/></symbol>\
    <symbol id=\"shape-not_ok\" viewBox=\"0 0 16 16\"><path class=\"body\" d=\"M8 .6l7.6 14.2H.4z\"/><path d=\"M8 5.4v4.4M8 11.4v1.6\"/></symbol>\
    <symbol id=\"shape-not_decidable\" viewBox=\"0 0 16 16\"><path class=\"body\" d=\"M8 0l8 8-8 8-8-8z\"/><path d=\"M5 8h6\"/></symbol></svg>\n";

fn charts_section(report: &EvaluationReport, summary: &Summary) -> String {
    let figure =
        |title: &str, chart: String, words: &str| format!("<figure><h3>{title}</h3>{chart}<figcaption>{words}</figcaption></figure>");
    format!(
        "<section><h2>How well good and defective parts separate</h2><div class=\"charts\">{}{}{}{}</div></section>\n",
        figure(
            "Scores",
            charts::score_histogram(&summary.good_scores, &summary.defect_scores, report.threshold),
            "<span class=\"key good\"></span> good parts, bars up; <span class=\"key defect\"></span> defective parts, bars down. Right of the line is \
             rejected: good parts there are false rejects, defective parts left of it are escapes.",
        ),
        figure(
            "Every possible threshold",
            charts::roc(&summary.roc, summary.auroc, summary.working_point),
            "Share of defects found over share of good parts rejected as the threshold moves. The diamond is the threshold in use. Parts without a \
             score are left out.",
        ),
        figure(
            "What the rejected are",
            charts::precision(&summary.precision, summary.average_precision, summary.working_precision),
            "Share of defective parts among the rejected over share of defects found. Unlike the curve before it depends on how many of these parts are \
             good: on a line with few defects precision is lower.",
        ),
        figure(
            "Latency",
            charts::latency_histogram(&summary.latencies_us),
            "Time from decoded image to verdict, one value per part. Percentiles by nearest rank.",
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(image: &str, class: &str, verdict: Verdict, score: Option<f32>) -> PartRow {
        let truth_defect = Some(class != "good");
        PartRow {
            image: image.into(),
            kinds: vec![class.into()],
            truth_defect,
            verdict,
            said: None,
            score,
            latency_us: Some(12_345),
            picture: None,
        }
    }

    fn sample() -> EvaluationReport {
        let picture = Some(Picture {
            mime: "image/jpeg",
            bytes: vec![1, 2, 3],
        });
        EvaluationReport {
            title: "bracket <7> & \"co\"".into(),
            subtitle: "<script>alert('x')</script>".into(),
            rendered_data: true,
            model: vec![Fact::new("name", "a<b")],
            run: vec![Fact::new("command", "takt evaluate --model 'x & y'")],
            headline: Some(Metric {
                name: "mAP <all>".into(),
                value: Some(0.5),
                decimals: 4,
                unit: String::new(),
                note: "<of 3 classes>".into(),
            }),
            confusion: Some(ClassMatrix {
                classes: vec!["good".into(), "<dent>".into()],
                counts: vec![vec![2, 1], vec![0, 3]],
            }),
            objects: Some(ObjectFigures {
                average: Some(0.5),
                curves: vec![ObjectCurve {
                    class: "<dent>".into(),
                    precision: vec![1.0, 0.5, 0.0],
                }],
                by_size: FigureTable::default(),
            }),
            tables: vec![FigureTable {
                heading: "By <class>".into(),
                words: "<words>".into(),
                of: "<class>".into(),
                columns: vec!["<AP>".into()],
                rows: vec![(
                    "<dent>".into(),
                    vec![Figure {
                        value: Some(f64::NAN),
                        decimals: 2,
                    }],
                )],
            }],
            metrics: vec![
                Metric {
                    name: "AUPRO".into(),
                    value: Some(f64::NAN),
                    decimals: 3,
                    unit: String::new(),
                    note: "<up to 0.3>".into(),
                },
                Metric {
                    name: "peak memory".into(),
                    value: Some(1234.5),
                    decimals: 0,
                    unit: "MiB".into(),
                    note: String::new(),
                },
            ],
            stages: vec![
                Stage {
                    name: "features".into(),
                    seconds: 12.5,
                },
                Stage {
                    name: "<memory>".into(),
                    seconds: f64::NAN,
                },
            ],
            threshold: 10.0,
            line: Some(line::tests::broken()),
            parts: vec![
                PartRow {
                    picture,
                    ..part("good/000.png", "good", Verdict::Ok, Some(4.0))
                },
                part("good/001.png", "good", Verdict::NotOk, Some(11.0)),
                part("good/002.png", "good", Verdict::NotDecidable, None),
                part("scratch/<000>.png", "scratch", Verdict::NotOk, Some(25.0)),
                part("scratch/001.png", "scratch", Verdict::Ok, Some(f32::NAN)),
                PartRow {
                    truth_defect: None,
                    ..part("line/7.png", "unknown", Verdict::Ok, Some(3.0))
                },
            ],
        }
    }

    /// The tags of a page in order, without attributes: `div`, `/div`. Fails on an unescaped `<`, `>` or a quote left open.
    fn tags(page: &str) -> Vec<String> {
        let page = page.replace(STYLE, "");
        let mut tags = Vec::new();
        for piece in page.split('<').skip(1) {
            let (tag, after) = piece.split_once('>').expect("every < starts a tag");
            assert!(!after.contains('>'), "stray > after <{tag}>");
            assert_eq!(tag.matches('"').count() % 2, 0, "open quote in <{tag}>");
            tags.push(
                tag.trim_end_matches('/').split_whitespace().next().unwrap_or_default().to_string()
                    + if tag.ends_with('/') { "/" } else { "" },
            );
        }
        tags
    }

    fn assert_well_formed(page: &str) {
        let mut open: Vec<String> = Vec::new();
        for tag in tags(page) {
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop().as_deref(), Some(name));
            } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "img", "br"].contains(&tag.as_str()) {
                open.push(tag);
            }
        }
        assert_eq!(open, Vec::<String>::new());
    }

    #[test]
    fn pages_are_well_formed_with_and_without_data() {
        for page in [render(&sample()), render(&EvaluationReport::default())] {
            assert_well_formed(&page);
            assert!(!page.contains("NaN") && !page.contains("inf\""), "a number that is none");
        }
    }

    #[test]
    fn what_comes_from_outside_is_escaped() {
        let page = render(&sample());
        assert!(page.contains("<h1>bracket &lt;7&gt; &amp; &quot;co&quot;</h1>"));
        assert!(page.contains("scratch/&lt;000&gt;.png"));
        assert!(!page.contains("<script") && !page.contains("<up to") && !page.contains("<memory>") && !page.contains("a<b"));
    }

    #[test]
    fn nothing_is_requested() {
        let page = render(&sample());
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("@import") && !page.contains("url("));
        for attribute in ["src=\"", "href=\""] {
            for value in page.split(attribute).skip(1) {
                assert!(value.starts_with("data:") || value.starts_with('#'), "{attribute}{}", &value[..40]);
            }
        }
    }

    #[test]
    fn rendered_data_is_announced_and_photographs_are_not() {
        assert!(render(&sample()).contains("Rendered parts, not photographs"));
        assert!(
            !render(&EvaluationReport {
                rendered_data: false,
                ..sample()
            })
            .contains("not photographs")
        );
    }

    #[test]
    fn mistakes_come_before_examples() {
        let page = render(&sample());
        let place = |words: &str| page.find(words).unwrap_or_else(|| panic!("{words} is on the page"));
        assert!(place("Escapes (1)</h2>") < place("False rejects (1)</h2>"));
        assert!(place("False rejects (1)</h2>") < place("Defects found (1)</h2>"));
    }

    #[test]
    fn pictures_travel_inside_the_page() {
        assert!(render(&sample()).contains("src=\"data:image/jpeg;base64,AQID\""));
        assert!(pictured_parts(&sample()).contains(&0));
    }
}
