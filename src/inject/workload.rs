//! Pods and the objects that make them: where their containers are, which of them is the agent, and what they need for
//! Weir.

use crate::inject::edit::{self, Change, Edit, Step};
use crate::inject::options::{Hook, Kind, Options};
use crate::inject::sidecar;
use crate::inject::tree::{Node, Value};

/// An object that makes pods, or a pod.
#[derive(Debug)]
pub(crate) struct Workload<'a> {
    /// `Kind/name`
    pub(crate) title: String,
    /// `metadata.name`
    pub(crate) name: &'a str,
    /// `metadata.namespace`
    pub(crate) namespace: Option<&'a str>,
    /// The labels of its pods, by which Services find them.
    pub(crate) labels: &'a [(String, Node)],
    /// Whether its pods end by themselves.
    ends: bool,
    spec: &'a Node,
    /// The way to `spec` in the document.
    path: Vec<Step>,
}

/// The port that Weir takes over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Agent {
    /// The number of the port.
    pub(crate) number: u16,
    /// The name of the port, if the container has one for it.
    pub(crate) name: Option<String>,
    /// The container, as an index of `containers`.
    container: usize,
}

/// A port that a container declares.
struct Declared<'a> {
    container: usize,
    owner: &'a str,
    name: Option<&'a str>,
    number: u16,
}

impl Declared<'_> {
    fn shown(&self) -> String {
        match self.name {
            Some(name) => format!("{name} ({}, of `{}`)", self.number, self.owner),
            None => format!("{} (of `{}`)", self.number, self.owner),
        }
    }
}

impl<'a> Workload<'a> {
    /// Reads an object; `None` if it is no workload. `path` is its way in the document.
    pub(crate) fn of(object: &'a Node, path: &[Step]) -> Option<Self> {
        let kind = object.get("kind")?.text()?;
        let template: &[&'static str] = match kind {
            "DaemonSet" | "Deployment" | "Job" | "ReplicaSet" | "StatefulSet" => {
                &["spec", "template"]
            }
            "CronJob" => &["spec", "jobTemplate", "spec", "template"],
            "Pod" => &[],
            _ => return None,
        };
        let pod = object.find(template)?;
        let text = |keys: &[&str]| object.find(keys).and_then(Node::text);
        let name = text(&["metadata", "name"]).unwrap_or_default();
        let mut path = path.to_vec();
        path.extend(template.iter().copied().map(Step::Key));
        path.push(Step::Key("spec"));
        Some(Self {
            title: format!("{kind}/{name}"),
            name,
            namespace: text(&["metadata", "namespace"]),
            labels: pod.find(&["metadata", "labels"]).map_or(&[], Node::entries),
            ends: matches!(kind, "CronJob" | "Job"),
            spec: pod.get("spec")?,
            path,
        })
    }

    /// Whether its pods have Weir already.
    pub(crate) fn has_weir(&self) -> bool {
        self.everyone().any(|one| name_of(one) == sidecar::NAME)
    }

    /// Finds the agent's port.
    pub(crate) fn agent(&self, options: &Options) -> Result<Agent, String> {
        let containers = self.containers();
        if containers.is_empty() {
            return Err("the pod has no containers".to_owned());
        }
        let among = |index: usize| {
            let wanted = options.container.as_deref();
            wanted.is_none_or(|name| {
                containers
                    .get(index)
                    .is_some_and(|one| name_of(one) == name)
            })
        };
        let candidates: Vec<usize> = (0..containers.len()).filter(|one| among(*one)).collect();
        let Some(first) = candidates.first() else {
            let names: Vec<&str> = containers.iter().map(name_of).collect();
            return Err(format!(
                "no container is called `{}`: there are {}",
                options.container.as_deref().unwrap_or_default(),
                names.join(", ")
            ));
        };
        let mut ports = self.declared();
        ports.retain(|port| among(port.container));
        let list: Vec<String> = ports.iter().map(Declared::shown).collect();
        let list = list.join(", ");
        let chosen = |port: &Declared<'_>| Agent {
            number: port.number,
            name: port.name.map(str::to_owned),
            container: port.container,
        };
        match (&options.port, &*ports) {
            (None, [only]) => Ok(chosen(only)),
            (None, []) => Err(
                "no container declares a port: say with --port NUMBER on which one the agent listens"
                    .to_owned(),
            ),
            (None, _) => Err(format!(
                "several container ports: {list}; say with --port which one is the agent's"
            )),
            (Some(wanted), ports) => {
                let number = wanted.parse::<u16>().ok().filter(|number| *number > 0);
                let found = ports
                    .iter()
                    .find(|port| Some(port.number) == number || port.name == Some(&**wanted));
                match (found, number, &*candidates) {
                    (Some(port), _, _) => Ok(chosen(port)),
                    // Kubernetes does not need ports to be declared.
                    (None, Some(number), [_]) => Ok(Agent {
                        number,
                        name: None,
                        container: *first,
                    }),
                    (None, Some(number), _) => Err(format!(
                        "no container declares port {number}, and there are several: say with --container which one listens there"
                    )),
                    (None, None, _) if list.is_empty() => Err(format!(
                        "no container port is called `{wanted}`: no container declares a port"
                    )),
                    (None, None, _) => Err(format!(
                        "no container port is called `{wanted}`: there are {list}"
                    )),
                }
            }
        }
    }

    /// Adds Weir in front of the agent. Appends to `notes` what the user should know.
    pub(crate) fn edits(
        &self,
        agent: &Agent,
        options: &Options,
        notes: &mut Vec<String>,
    ) -> Result<Vec<Edit>, String> {
        self.ports_are_free(agent, options)?;
        self.names_are_free(options)?;
        if self.ends && options.kind == Kind::Ordinary {
            return Err(
                "an ordinary container would keep the Job from completing: leave --plain out"
                    .to_owned(),
            );
        }
        let mut edits = Vec::new();
        let weir = sidecar::container(options, agent.number);
        match options.kind {
            // Before the other init containers, as in the chart.
            Kind::Native => edits.push(self.listed("initContainers", weir, Change::Prepend)?),
            Kind::Ordinary => edits.push(self.listed("containers", weir, Change::Append)?),
        }
        edits.extend(self.hook(agent, options, notes)?);
        if let Some(name) = &options.config_map {
            edits.push(self.listed("volumes", sidecar::volume(name), Change::Append)?);
        }
        edits.extend(self.grace(notes));
        Ok(edits)
    }

    /// Keeps the agent alive while Weir drains.
    fn hook(
        &self,
        agent: &Agent,
        options: &Options,
        notes: &mut Vec<String>,
    ) -> Result<Option<Edit>, String> {
        let containers = self.containers();
        let Some(container) = containers.get(agent.container) else {
            return Ok(None);
        };
        let name = name_of(container);
        let probed = ["livenessProbe", "startupProbe"]
            .iter()
            .any(|probe| container.get(probe).is_some());
        let hook = match options.hook {
            Hook::Off => return Ok(None),
            Hook::Drain if probed => {
                return Err(format!(
                    "`{name}` has a liveness or startup probe, whose failure also runs its preStop hook, and `--agent-pre-stop drain` would then end Weir: choose sleep or off"
                ));
            }
            Hook::Auto | Hook::Drain if !probed => sidecar::draining_hook(options),
            Hook::Auto => {
                notes.push(format!(
                    "{}: the preStop hook of `{name}` sleeps (Kubernetes 1.30), because its liveness or startup probe would run a hook that drains",
                    self.title
                ));
                sidecar::sleeping_hook()
            }
            Hook::Drain | Hook::Sleep => sidecar::sleeping_hook(),
        };
        let mut path = self.path_of("containers");
        path.push(Step::Item(agent.container));
        let (path, key, yaml) = match container.get("lifecycle") {
            Some(lifecycle) if lifecycle.is_null() => {
                path.push(Step::Key("lifecycle"));
                return Ok(Some(Edit {
                    path,
                    change: Change::Fill(edit::entry("preStop", &hook)),
                }));
            }
            Some(lifecycle) if lifecycle.get("preStop").is_some_and(Node::is_null) => {
                path.extend([Step::Key("lifecycle"), Step::Key("preStop")]);
                return Ok(Some(Edit {
                    path,
                    change: Change::Fill(hook),
                }));
            }
            Some(lifecycle) if lifecycle.get("preStop").is_some() => {
                notes.push(format!(
                    "{}: `{name}` keeps its own preStop hook; it should not return before Weir has drained",
                    self.title
                ));
                return Ok(None);
            }
            Some(lifecycle) if matches!(lifecycle.value, Value::Map(..)) => {
                path.push(Step::Key("lifecycle"));
                (path, "preStop", hook)
            }
            Some(_) => return Err(format!("lifecycle of `{name}`: expected a mapping")),
            None => (path, "lifecycle", edit::entry("preStop", &hook)),
        };
        Ok(Some(Edit {
            path,
            change: Change::Add { key, yaml },
        }))
    }

    /// Gives the pod time to drain.
    fn grace(&self, notes: &mut Vec<String>) -> Option<Edit> {
        let key = "terminationGracePeriodSeconds";
        let yaml = sidecar::GRACE.to_string();
        let Some(given) = self.spec.get(key) else {
            return Some(Edit {
                path: self.path.clone(),
                change: Change::Add { key, yaml },
            });
        };
        if given.number().is_some_and(|given| given >= sidecar::GRACE) {
            return None;
        }
        notes.push(format!(
            "{}: {key} is {yaml} instead of {}, to have time for the drain",
            self.title,
            given.text().unwrap_or("null")
        ));
        Some(Edit {
            path: self.path_of(key),
            change: Change::Replace(yaml),
        })
    }

    /// Adds an item to a list of the pod's spec, which may not exist yet.
    fn listed(
        &self,
        key: &'static str,
        yaml: String,
        change: fn(String) -> Change,
    ) -> Result<Edit, String> {
        let Some(list) = self.spec.get(key) else {
            return Ok(Edit {
                path: self.path.clone(),
                change: Change::Add {
                    key,
                    yaml: edit::item(&yaml),
                },
            });
        };
        // As templates write a list that has turned out empty.
        if list.is_null() {
            return Ok(Edit {
                path: self.path_of(key),
                change: Change::Fill(edit::item(&yaml)),
            });
        }
        if !matches!(list.value, Value::List(..)) {
            return Err(format!("{key}: expected a list"));
        }
        Ok(Edit {
            path: self.path_of(key),
            change: change(yaml),
        })
    }

    fn ports_are_free(&self, agent: &Agent, options: &Options) -> Result<(), String> {
        for (wanted, flag) in [
            (options.listen, "--listen"),
            (options.admin, "--admin-port"),
        ] {
            if wanted == agent.number {
                return Err(format!(
                    "the agent listens on port {wanted} itself: choose another port for Weir with {flag}"
                ));
            }
            let mut ports = self.declared();
            ports.extend(self.native().flat_map(|one| declared_by(0, one)));
            if let Some(taken) = ports.iter().find(|port| port.number == wanted) {
                return Err(format!(
                    "port {wanted} belongs to `{}`: choose another port for Weir with {flag}",
                    taken.owner
                ));
            }
        }
        Ok(())
    }

    /// Names of ports and of volumes are unique in a pod.
    fn names_are_free(&self, options: &Options) -> Result<(), String> {
        let mut ports = self.declared();
        ports.extend(self.native().flat_map(|one| declared_by(0, one)));
        let ours =
            |port: &&Declared<'_>| port.name.is_some_and(|name| sidecar::PORTS.contains(&name));
        if let Some(taken) = ports.iter().find(ours) {
            return Err(format!(
                "a port of `{}` is called `{}`, as Weir's own is: give it another name",
                taken.owner,
                taken.name.unwrap_or_default()
            ));
        }
        let volumes = self.spec.get("volumes").map_or(&[][..], Node::items);
        if options.config_map.is_some() && volumes.iter().any(|one| name_of(one) == sidecar::VOLUME)
        {
            return Err(format!(
                "a volume is called `{}`, as Weir's own is: give it another name",
                sidecar::VOLUME
            ));
        }
        Ok(())
    }

    /// The TCP ports of the pod's containers.
    fn declared(&self) -> Vec<Declared<'a>> {
        let containers = self.containers().iter().enumerate();
        containers
            .flat_map(|(index, one)| declared_by(index, one))
            .collect()
    }

    /// The init containers that keep running.
    fn native(&self) -> impl Iterator<Item = &'a Node> {
        let init = self.spec.get("initContainers").map_or(&[][..], Node::items);
        init.iter()
            .filter(|one| one.get("restartPolicy").and_then(Node::text) == Some("Always"))
    }

    fn containers(&self) -> &'a [Node] {
        self.spec.get("containers").map_or(&[], Node::items)
    }

    fn everyone(&self) -> impl Iterator<Item = &'a Node> {
        let init = self.spec.get("initContainers").map_or(&[][..], Node::items);
        self.containers().iter().chain(init)
    }

    fn path_of(&self, key: &'static str) -> Vec<Step> {
        let mut path = self.path.clone();
        path.push(Step::Key(key));
        path
    }
}

/// The TCP ports of a container.
fn declared_by(container: usize, node: &Node) -> Vec<Declared<'_>> {
    let mut found = Vec::new();
    for port in node.get("ports").map_or(&[][..], Node::items) {
        let text = |key| port.get(key).and_then(Node::text);
        let number = port.get("containerPort").and_then(Node::number);
        let number = number.and_then(|number| u16::try_from(number).ok());
        let tcp = text("protocol").is_none_or(|protocol| protocol == "TCP");
        if let Some(number) = number.filter(|_| tcp) {
            found.push(Declared {
                container,
                owner: name_of(node),
                name: text("name"),
                number,
            });
        }
    }
    found
}

fn name_of(container: &Node) -> &str {
    container
        .get("name")
        .and_then(Node::text)
        .unwrap_or_default()
}
