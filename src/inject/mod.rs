//! Adds Weir to the pods of Kubernetes manifests, as a sidecar in front of the agent.
//!
//! A pure function of the manifests' text. It edits the text in place, so that comments, order, style and unknown
//! fields stay as they are. The edited text is then parsed again, and compared with the tree that was intended.
//!
//! ```text
//! text ──► documents ──► tree ──► workload: pod, agent, edits ──► edit ──► text
//!                                 service: ports that lead to the agent
//! ```

mod edit;
mod options;
mod service;
mod sidecar;
mod tree;
mod workload;

use std::fmt;

use self::edit::{Edit, Step};
use self::service::Service;
use self::tree::Node;
use self::workload::{Agent, Workload};

pub use self::options::{Hook, Kind, Options};

/// Manifests with Weir in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injected {
    /// All documents of the input.
    pub text: String,
    /// What was done, and what is left to do: one sentence each.
    pub notes: Vec<String>,
}

/// Why Weir cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The document, counted from 1; `None` if it is about the whole input.
    pub document: Option<usize>,
    /// The line of the input, counted from 1.
    pub line: Option<usize>,
    /// What was expected, what was found, and what to change.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(document) = self.document {
            write!(f, "document {document}, ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Adds Weir to the workloads of `text`, which has any number of YAML or JSON documents. Services that lead to their
/// agents then lead to Weir. Workloads that have Weir already stay as they are.
pub fn inject(text: &str, options: &Options) -> Result<Injected, Problem> {
    let documents = documents(text)?;
    let mut workloads = Vec::new();
    let mut services = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        for (object, path) in document.objects() {
            workloads.extend(Workload::of(object, &path).map(|one| (index, object, one)));
            services.extend(Service::of(object, &path).map(|one| (index, one)));
        }
    }
    let chosen = chosen(&workloads, options)?;
    let mut notes = Vec::new();
    let mut edits: Vec<Vec<Edit>> = vec![Vec::new(); documents.len()];
    for (index, object, workload) in chosen {
        if workload.has_weir() {
            notes.push(format!("{}: has Weir already, no change", workload.title));
            continue;
        }
        let at = |message: String| Problem {
            document: Some(index + 1),
            line: documents.get(*index).map(|one| one.line(text, object)),
            message: format!("{}: {message}", workload.title),
        };
        let agent = workload.agent(options).map_err(at)?;
        notes.push(format!(
            "{}: Weir is added in front of port {}",
            workload.title, agent.number
        ));
        let more = workload.edits(&agent, options, &mut notes).map_err(at)?;
        if let Some(edits) = edits.get_mut(*index) {
            edits.extend(more);
        }
        lead(workload, &agent, options, &services, &mut edits, &mut notes);
    }
    let text = written(text, &documents, &edits)?;
    Ok(Injected { text, notes })
}

/// A workload, the object that it is, and the index of its document.
type Found<'a> = (usize, &'a Node, Workload<'a>);

/// The workloads that get Weir: the named ones, or the only one.
fn chosen<'f, 'a>(
    workloads: &'f [Found<'a>],
    options: &Options,
) -> Result<Vec<&'f Found<'a>>, Problem> {
    let problem = |message: String| Problem {
        document: None,
        line: None,
        message,
    };
    let list = |of: &[&Found<'a>]| {
        let titles: Vec<&str> = of.iter().map(|(_, _, one)| &*one.title).collect();
        titles.join(", ")
    };
    let every: Vec<&Found<'a>> = workloads.iter().collect();
    if every.is_empty() {
        return Err(problem("no workload in the input: expected a CronJob, DaemonSet, Deployment, Job, Pod, ReplicaSet or StatefulSet, or a List of them".to_owned()));
    }
    for name in &options.workloads {
        if !every
            .iter()
            .any(|(_, _, one)| name == one.name || *name == one.title)
        {
            return Err(problem(format!(
                "--workload {name}: is not in the input, which has {}",
                list(&every)
            )));
        }
    }
    if !options.workloads.is_empty() {
        let mut named = every;
        named.retain(|(_, _, one)| {
            let mut names = options.workloads.iter();
            names.any(|name| name == one.name || *name == one.title)
        });
        return Ok(named);
    }
    let without: Vec<&Found<'a>> = every
        .iter()
        .copied()
        .filter(|(_, _, one)| !one.has_weir())
        .collect();
    match &*without {
        [] => Ok(every),
        [_] => Ok(without),
        _ => Err(problem(format!(
            "several workloads in the input: {}; name those that get Weir with --workload",
            list(&without)
        ))),
    }
}

/// Points the Services that lead to the agent at Weir.
fn lead(
    workload: &Workload<'_>,
    agent: &Agent,
    options: &Options,
    services: &[(usize, Service<'_>)],
    edits: &mut [Vec<Edit>],
    notes: &mut Vec<String>,
) {
    let mut found = false;
    for (index, service) in services.iter().filter(|(_, one)| one.selects(workload)) {
        let Some(more) = service.edits(agent, options) else {
            continue;
        };
        found = true;
        let Some(edits) = edits.get_mut(*index) else {
            continue;
        };
        for edit in more {
            // Two workloads can be behind one Service.
            if !edits.iter().any(|other| other.path == edit.path) {
                notes.push(format!(
                    "{}: leads to Weir, port {}",
                    service.title, options.listen
                ));
                edits.push(edit);
            }
        }
    }
    if !found {
        notes.push(format!(
            "{}: no Service in the input leads to port {}; set targetPort of its Service to {}",
            workload.title, agent.number, options.listen
        ));
    }
}

fn written(text: &str, documents: &[Document<'_>], edits: &[Vec<Edit>]) -> Result<String, Problem> {
    let mut out = String::with_capacity(text.len() + 4096);
    for (index, (document, edits)) in documents.iter().zip(edits).enumerate() {
        match &document.root {
            Some(root) if !edits.is_empty() => {
                let edited = edit::apply(document.text, root, edits).ok_or_else(|| Problem {
                    document: Some(index + 1),
                    line: Some(document.line(text, root)),
                    message: "cannot be edited in place without changing something else, as it is with anchors and aliases (`&name`, `*name`): write the workload and its Service without them".to_owned(),
                })?;
                // The next document begins in a line of its own.
                let last = index + 1 == documents.len();
                let ends = edited.ends_with('\n') || last;
                out.push_str(&edited);
                out.push_str(if ends { "" } else { "\n" });
            }
            _ => out.push_str(document.text),
        }
    }
    Ok(out)
}

/// A document of the input, with the line of dashes above it.
#[derive(Debug)]
struct Document<'a> {
    text: &'a str,
    /// Where it begins in the input.
    start: usize,
    root: Option<Node>,
}

impl Document<'_> {
    /// Returns the objects of the document, with their ways in it: itself, or the items of a List.
    fn objects(&self) -> Vec<(&Node, Vec<Step>)> {
        let Some(root) = &self.root else {
            return Vec::new();
        };
        if root.get("kind").and_then(Node::text) != Some("List") {
            return vec![(root, Vec::new())];
        }
        let items = root.get("items").map_or(&[][..], Node::items);
        items
            .iter()
            .enumerate()
            .map(|(index, item)| (item, vec![Step::Key("items"), Step::Item(index)]))
            .collect()
    }

    /// The line of the input in which the node begins.
    fn line(&self, input: &str, node: &Node) -> usize {
        let before = input.get(..self.start + node.range.start);
        1 + before.unwrap_or_default().matches('\n').count()
    }
}

/// Splits the input at lines of dashes, which end even a block scalar, and parses each document. Comments and
/// directives above the first line of dashes belong to the first document.
fn documents(text: &str) -> Result<Vec<Document<'_>>, Problem> {
    let mut starts = vec![0];
    let mut place = 0;
    let mut content = false;
    for line in text.split_inclusive('\n') {
        let rest = line.strip_prefix("---");
        if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace)) {
            if content {
                starts.push(place);
            }
            content = true;
        }
        content |= !line.starts_with(['#', '%']) && !line.trim().is_empty();
        place += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let mut documents = Vec::new();
    for (index, (start, end)) in starts.iter().copied().zip(ends).enumerate() {
        let part = text.get(start..end).unwrap_or_default();
        let root = tree::parse(part).map_err(|error| Problem {
            document: Some(index + 1),
            line: Some(text.get(..start).unwrap_or_default().matches('\n').count() + error.line),
            message: error.message,
        })?;
        documents.push(Document {
            text: part,
            start,
            root: root.filter(|root| !root.is_null()),
        });
    }
    Ok(documents)
}

#[cfg(test)]
mod tests;
