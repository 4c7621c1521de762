//! Finds the ports of Services that lead to an agent, and lets them lead to Weir.

use crate::inject::edit::{Change, Edit, Step};
use crate::inject::options::Options;
use crate::inject::tree::Node;
use crate::inject::workload::{Agent, Workload};

/// A Service.
#[derive(Debug)]
pub(crate) struct Service<'a> {
    /// `Service/name`
    pub(crate) title: String,
    namespace: Option<&'a str>,
    selector: &'a [(String, Node)],
    ports: &'a [Node],
    /// The way to `spec.ports` in the document.
    path: Vec<Step>,
}

impl<'a> Service<'a> {
    /// Reads an object; `None` if it is no Service. `path` is its way in the document.
    pub(crate) fn of(object: &'a Node, path: &[Step]) -> Option<Self> {
        if object.get("kind")?.text()? != "Service" {
            return None;
        }
        let text = |keys: &[&str]| object.find(keys).and_then(Node::text);
        let mut path = path.to_vec();
        path.extend([Step::Key("spec"), Step::Key("ports")]);
        Some(Self {
            title: format!(
                "Service/{}",
                text(&["metadata", "name"]).unwrap_or_default()
            ),
            namespace: text(&["metadata", "namespace"]),
            selector: object.find(&["spec", "selector"])?.entries(),
            ports: object.find(&["spec", "ports"])?.items(),
            path,
        })
    }

    /// Whether it leads to the pods of this workload.
    pub(crate) fn selects(&self, workload: &Workload<'_>) -> bool {
        let labelled = |(key, value): &(String, Node)| {
            let mut labels = workload.labels.iter();
            labels.any(|(name, label)| name == key && label == value)
        };
        self.namespace == workload.namespace
            && !self.selector.is_empty()
            && self.selector.iter().all(labelled)
    }

    /// Points the ports that lead to the agent at Weir. `None` if none of them does.
    pub(crate) fn edits(&self, agent: &Agent, options: &Options) -> Option<Vec<Edit>> {
        let mut edits = Vec::new();
        let mut leads = false;
        // By number: before 1.33, Services cannot refer to a native sidecar's ports by name.
        let yaml = options.listen.to_string();
        for (index, port) in self.ports.iter().enumerate() {
            let given = port.get("targetPort").filter(|target| !target.is_null());
            let target = given.or_else(|| port.get("port"));
            let number = target.and_then(Node::number);
            let named =
                agent.name.is_some() && target.and_then(Node::text) == agent.name.as_deref();
            leads |= number == Some(u64::from(options.listen));
            if number != Some(u64::from(agent.number)) && !named {
                continue;
            }
            leads = true;
            let mut path = self.path.clone();
            path.push(Step::Item(index));
            let change = if port.get("targetPort").is_some() {
                path.push(Step::Key("targetPort"));
                Change::Replace(yaml.clone())
            } else {
                Change::Add {
                    key: "targetPort",
                    yaml: yaml.clone(),
                }
            };
            edits.push(Edit { path, change });
        }
        leads.then_some(edits)
    }
}
