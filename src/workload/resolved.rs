//! `workload.toml` of the results: the file as it was run, everything resolved.

use std::path::Path;

use toml::Value;

use super::{CheckMode, Workload};
use crate::document::units::{show_duration, show_size};
use crate::document::{Table, Val};
use crate::history::{Durability, Sessions};

type Toml = toml::Table;

/// `workload` as TOML that loads to the same workload with the same schedule. `root` is the document it was decoded
/// from: faults stay as they were written, the seed draws them again.
pub(super) fn resolved(workload: &Workload, root: &Table, beside: &Path) -> String {
    let mut document = Toml::new();
    put(&mut document, "name", workload.name.as_str());
    put(&mut document, "about", workload.about.as_str());
    put(&mut document, "seed", integer(workload.seed));
    let vars: Toml =
        workload.vars.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    put(&mut document, "vars", vars);
    put(&mut document, "cluster", cluster(workload, root));
    put(&mut document, "client", client(workload, beside));
    put(&mut document, "load", load(workload));
    for name in ["fault", "chaos"] {
        if let Some(entry) = root.get(name) {
            // An empty list could only be written as a key, which TOML wants before the first table.
            if !matches!(&entry.node.val, Val::List(items) if items.is_empty()) {
                put(&mut document, name, entry.node.to_toml());
            }
        }
    }
    let mut settle = Toml::new();
    put(&mut settle, "within", show_duration(workload.settle_within));
    put(&mut document, "settle", settle);
    let mut checks = Toml::new();
    for (name, mode) in &workload.checks {
        let mode = match mode {
            CheckMode::Required => "required",
            CheckMode::Reported => "reported",
            CheckMode::ExpectedToFail => "expected-to-fail",
        };
        put(&mut checks, name, mode);
    }
    put(&mut document, "checks", checks);
    // Nothing here is a type that TOML cannot write; should that change, the reader of the results learns of it.
    toml::to_string_pretty(&document)
        .unwrap_or_else(|error| format!("# the workload cannot be written: {error}\n"))
}

fn put(table: &mut Toml, key: &str, value: impl Into<Value>) {
    table.insert(key.to_owned(), value.into());
}

fn integer(value: u64) -> Value {
    Value::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

fn cluster(workload: &Workload, root: &Table) -> Toml {
    let spec = &workload.cluster;
    let mut table = Toml::new();
    put(&mut table, "nodes", spec.nodes.clone());
    put(&mut table, "command", spec.command.as_str());
    put(&mut table, "port", integer(u64::from(spec.port.unwrap_or(0))));
    for (name, path) in [("copy", &spec.copy), ("dir", &spec.dir), ("cwd", &spec.cwd)] {
        if let Some(path) = path {
            put(&mut table, name, path.display().to_string());
        }
    }
    let durability = match spec.durability {
        Durability::Disk => "disk",
        Durability::Replicated => "replicated",
        Durability::Memory => "memory",
    };
    put(&mut table, "durability", durability);
    put(&mut table, "ready-within", show_duration(spec.ready_within));
    for name in ["write-quorum", "read-quorum"] {
        // As written: where it is a template, it goes on following its variable.
        if let Some(Val::Table(written)) = root.get("cluster").map(|entry| &entry.node.val)
            && let Some(entry) = written.get(name)
        {
            put(&mut table, name, entry.node.to_toml());
        }
    }
    if let Some(within) = spec.elect_within {
        put(&mut table, "elect-within", show_duration(within));
    }
    for (name, declared) in [("uniform", spec.uniform), ("views", spec.views)] {
        if declared {
            put(&mut table, name, true);
        }
    }
    if !spec.ports.is_empty() {
        let ports: Toml =
            spec.ports.iter().map(|(name, offset)| (name.clone(), integer(u64::from(*offset)))).collect();
        put(&mut table, "ports", ports);
    }
    if !spec.files.is_empty() {
        let files: Toml =
            spec.files.iter().map(|file| (file.name.clone(), file.template.as_str().into())).collect();
        put(&mut table, "files", files);
    }
    if !spec.env.is_empty() {
        let env: Toml = spec.env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        put(&mut table, "env", env);
    }
    let mut limits = Toml::new();
    put(&mut limits, "log", show_size(spec.log_limit));
    let bytes = [("memory", spec.limits.memory), ("file", spec.limits.file), ("disk", spec.limits.disk)];
    for (name, bytes) in bytes.into_iter().filter_map(|(name, bytes)| Some((name, bytes?))) {
        put(&mut limits, name, show_size(bytes));
    }
    if let Some(cpu) = spec.limits.cpu {
        put(&mut limits, "cpu", cpu);
    }
    if let Some(processes) = spec.limits.processes {
        put(&mut limits, "processes", integer(processes));
    }
    put(&mut table, "limits", limits);
    table
}

fn client(workload: &Workload, beside: &Path) -> Toml {
    let spec = &workload.client;
    let mut table = Toml::new();
    let is_path = spec.protocol.contains('/') || spec.protocol.ends_with(".toml");
    let absolute = is_path.then(|| std::path::absolute(beside.join(&spec.protocol)).ok()).flatten();
    put(&mut table, "protocol", absolute.map_or(spec.protocol.clone(), |path| path.display().to_string()));
    put(&mut table, "timeout", show_duration(spec.timeout));
    if let Some(limit) = spec.max_in_flight {
        put(&mut table, "max-in-flight", integer(u64::from(limit)));
    }
    if let Some(period) = spec.probe {
        put(&mut table, "probe", show_duration(period));
    }
    table
}

fn load(workload: &Workload) -> Toml {
    let spec = &workload.load;
    let mut table = Toml::new();
    put(&mut table, "kind", spec.kind.as_str());
    put(&mut table, "clients", integer(u64::from(spec.clients)));
    put(&mut table, "rate", spec.rate);
    put(&mut table, "duration", show_duration(spec.duration));
    put(&mut table, "keys", integer(u64::from(spec.keys)));
    if spec.kind != "log" {
        put(&mut table, "rotate", spec.rotate.map_or("never".to_owned(), show_duration));
    }
    if spec.size > 0 {
        put(&mut table, "size", show_size(u64::from(spec.size)));
    }
    if spec.kind == "log" {
        put(&mut table, "subscribers", integer(u64::from(spec.subscribers)));
        put(&mut table, "repeat", spec.repeat);
    }
    put(&mut table, "burst", integer(u64::from(spec.burst)));
    put(&mut table, "sessions", if spec.sessions == Sessions::Roaming { "roaming" } else { "sticky" });
    let mix: Toml =
        spec.mix.iter().map(|(name, weight)| (name.clone(), integer(u64::from(*weight)))).collect();
    put(&mut table, "mix", mix);
    if !spec.routes.is_empty() {
        let routes: Toml =
            spec.routes.iter().map(|(name, route)| (name.clone(), route.name().into())).collect();
        put(&mut table, "route", routes);
    }
    table
}
