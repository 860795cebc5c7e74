//! The Kubernetes resources: held against the schemas of the API server and of cert-manager, against one another, and
//! against the programs that run in them.

use std::{collections::BTreeSet, fs, process::Command};

use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use twinseal_tests::service::program;

use crate::files::{deployed, repository, succeeds};

const KUBERNETES: &str = include_str!("schemas/kubernetes.json");
const CERT_MANAGER: &str = include_str!("schemas/cert-manager.json");

/// Every resource below deploy/kubernetes, with the file that it is in.
fn resources() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(repository("deploy/kubernetes")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".yaml"), "{name}");
        let text = deployed(&format!("kubernetes/{name}"));
        for document in serde_norway::Deserializer::from_str(&text) {
            let resource =
                Value::deserialize(document).unwrap_or_else(|error| panic!("{name}: {error}"));
            all.push((name.clone(), resource));
        }
    }
    assert!(all.len() > 20, "{}", all.len());
    all
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The resource of a file with this kind and name.
pub(crate) fn resource(file: &str, kind: &str, name: &str) -> Value {
    resources()
        .into_iter()
        .find(|(found, resource)| {
            found == file && resource["kind"] == kind && resource["metadata"]["name"] == name
        })
        .unwrap_or_else(|| panic!("no {kind} {name} in {file}"))
        .1
}

/// The pods that Deployments and StatefulSets make.
fn pods() -> Vec<(String, Value)> {
    let workloads = resources()
        .into_iter()
        .filter(|(_, resource)| ["Deployment", "StatefulSet"].contains(&text(resource, "/kind")));
    workloads
        .map(|(file, resource)| (file, resource["spec"].clone()))
        .collect()
}

/// The containers of a workload's pods, those that begin them first.
fn containers(workload: &Value) -> Vec<Value> {
    let pod = &workload["template"]["spec"];
    [list(pod, "/initContainers"), list(pod, "/containers")].concat()
}

#[test]
fn every_resource_is_as_the_schema_of_its_kind_says() {
    let schema = |source: &str, definition: &str| {
        let mut schema: Value = serde_json::from_str(source).unwrap();
        assert!(schema["$defs"].get(definition).is_some(), "{definition}");
        schema["$ref"] = json!(format!("#/$defs/{definition}"));
        jsonschema::validator_for(&schema).unwrap()
    };
    for (file, resource) in resources() {
        let kind = text(&resource, "/kind");
        let group = |package: &str| format!("io.k8s.api.{package}.{kind}");
        let validator = match text(&resource, "/apiVersion") {
            "v1" => schema(KUBERNETES, &group("core.v1")),
            "apps/v1" => schema(KUBERNETES, &group("apps.v1")),
            "policy/v1" => schema(KUBERNETES, &group("policy.v1")),
            "networking.k8s.io/v1" => schema(KUBERNETES, &group("networking.v1")),
            "rbac.authorization.k8s.io/v1" => schema(KUBERNETES, &group("rbac.v1")),
            "cert-manager.io/v1" => schema(CERT_MANAGER, kind),
            other => panic!("{file}: no schema of {other}"),
        };
        let errors: Vec<String> = validator
            .iter_errors(&resource)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{file}, {kind}: {errors:?}");
    }
}

#[test]
fn a_schema_refuses_a_member_that_kubernetes_does_not_know() {
    let mut schema: Value = serde_json::from_str(KUBERNETES).unwrap();
    schema["$ref"] = json!("#/$defs/io.k8s.api.apps.v1.Deployment");
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut deployment = resource("merchant.yaml", "Deployment", "merchant");
    assert!(validator.is_valid(&deployment));
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = json!({});
    assert!(!validator.is_valid(&deployment));
}

#[test]
fn every_pod_is_restricted_and_has_a_read_only_root() {
    for (file, workload) in pods() {
        let pod = &workload["template"]["spec"];
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{file}");
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{file}"
        );
        assert_ne!(security["runAsUser"].as_u64().unwrap(), 0, "{file}");
        assert_eq!(security["fsGroup"], security["runAsGroup"], "{file}");
        assert_eq!(pod["automountServiceAccountToken"], false, "{file}");
        for container in containers(&workload) {
            let name = text(&container, "/name");
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{file} {name}");
            assert_eq!(security["readOnlyRootFilesystem"], true, "{file} {name}");
            assert_eq!(
                security["capabilities"],
                json!({ "drop": ["ALL"] }),
                "{file} {name}"
            );
            assert!(
                container["resources"]["limits"]["memory"].is_string(),
                "{file} {name}"
            );
        }
        // Secrets are for their owner; the kubelet adds the group of the pod.
        for volume in list(pod, "/volumes")
            .iter()
            .filter(|volume| volume["secret"].is_object())
        {
            assert_eq!(volume["secret"]["defaultMode"], 0o400, "{file}");
        }
        let stop = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
        let drain = mtls::server::Limits::default().drain.as_secs();
        assert!(stop > drain + 15, "{file}");
    }
}

#[test]
fn what_a_pod_mounts_probes_and_is_selected_by_is_there() {
    let all = resources();
    let labels = |workload: &Value| workload["template"]["metadata"]["labels"].clone();
    for (file, workload) in pods() {
        assert_eq!(
            workload["selector"]["matchLabels"],
            labels(&workload),
            "{file}"
        );
        let pod = &workload["template"]["spec"];
        let volumes: BTreeSet<&str> = list(pod, "/volumes")
            .iter()
            .chain(list(&workload, "/volumeClaimTemplates").iter())
            .map(|volume| {
                volume
                    .get("name")
                    .unwrap_or(&volume["metadata"]["name"])
                    .as_str()
                    .unwrap()
            })
            .collect();
        let account = text(pod, "/serviceAccountName");
        assert!(
            all.iter().any(|(found, resource)| *found == file
                && resource["kind"] == "ServiceAccount"
                && resource["metadata"]["name"] == account),
            "{file} {account}"
        );
        let mut mounted = BTreeSet::new();
        for container in containers(&workload) {
            for mount in list(&container, "/volumeMounts") {
                mounted.insert(text(mount, "/name").to_owned());
            }
            let ports: Vec<&str> = list(&container, "/ports")
                .iter()
                .map(|port| text(port, "/name"))
                .collect();
            for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
                if let Some(port) = container.pointer(&format!("/{probe}/httpGet/port")) {
                    assert!(ports.contains(&port.as_str().unwrap()), "{file} {probe}");
                }
            }
        }
        let mounted: BTreeSet<&str> = mounted.iter().map(String::as_str).collect();
        assert_eq!(mounted, volumes, "{file}");
    }
    // Services, budgets and policies select pods that there are, and Services lead to ports that have names there.
    for (file, resource) in &all {
        let selector = match text(resource, "/kind") {
            "Service" => &resource["spec"]["selector"],
            "PodDisruptionBudget" => &resource["spec"]["selector"]["matchLabels"],
            "NetworkPolicy" if !resource["spec"]["podSelector"]["matchLabels"].is_null() => {
                &resource["spec"]["podSelector"]["matchLabels"]
            }
            _ => continue,
        };
        let selected: Vec<Value> = pods()
            .into_iter()
            .map(|(_, workload)| workload)
            .filter(|workload| labels(workload) == *selector)
            .collect();
        assert!(
            !selected.is_empty(),
            "{file}: nothing is selected by {selector}"
        );
        for port in list(resource, "/spec/ports") {
            let wanted = text(port, "/targetPort");
            for workload in &selected {
                let named = containers(workload);
                let named = named
                    .iter()
                    .flat_map(|container| list(container, "/ports").to_vec());
                assert!(
                    named.clone().any(|port| port["name"] == wanted),
                    "{file} {wanted}"
                );
            }
        }
    }
}

#[test]
fn the_programs_take_the_configurations_and_command_lines_of_their_pods() {
    for (file, map, member, name) in [
        (
            "gateway-postgres.yaml",
            "gateway-config",
            "gateway.toml",
            "twinseal-gateway",
        ),
        (
            "gateway-softhsm.yaml",
            "gateway-config",
            "gateway.toml",
            "twinseal-gateway",
        ),
        (
            "merchant.yaml",
            "merchant-config",
            "merchant.toml",
            "twinseal-merchant",
        ),
    ] {
        let map = resource(file, "ConfigMap", map);
        let directory = TempDir::new().unwrap();
        let path = directory.path().join(member);
        fs::write(&path, map["data"][member].as_str().unwrap()).unwrap();
        // It goes as far as to look for the files that the configuration names, which are not here.
        let output = Command::new(program(name))
            .arg("--config")
            .arg(&path)
            .arg("serve")
            .env_remove("RUST_LOG")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{file}: {said}");
        assert!(said.contains("/twinseal/"), "{file}: {said}");
        assert!(!said.contains("is not a"), "{file}: {said}");

        let workload = pods()
            .into_iter()
            .find(|(found, _)| found == file)
            .unwrap()
            .1;
        let container = &workload["template"]["spec"]["containers"][0];
        let arguments = list(container, "/args")
            .iter()
            .map(|argument| argument.as_str().unwrap());
        let arguments: Vec<&str> = arguments.collect();
        let (serve, before) = arguments.split_last().unwrap();
        assert_eq!(*serve, "serve");
        succeeds(
            Command::new(program(name))
                .args(before)
                .args(["serve", "--help"]),
        );
    }
}

#[test]
fn gateways_that_are_several_share_a_database_and_one_with_a_file_is_alone() {
    let shared = resource("gateway-postgres.yaml", "Deployment", "gateway");
    assert!(shared["spec"]["replicas"].as_u64().unwrap() > 1);
    let config = resource("gateway-postgres.yaml", "ConfigMap", "gateway-config");
    assert!(text(&config, "/data/gateway.toml").contains("[store.postgres]"));
    for (file, kind, name) in [
        ("gateway-softhsm.yaml", "StatefulSet", "gateway"),
        ("merchant.yaml", "Deployment", "merchant"),
    ] {
        let alone = resource(file, kind, name);
        assert_eq!(alone["spec"]["replicas"], 1, "{file}");
        if kind == "Deployment" {
            assert_eq!(alone["spec"]["strategy"]["type"], "Recreate");
        }
    }
}

#[test]
fn what_cert_manager_is_asked_for_is_what_the_protocol_wants_of_each_certificate() {
    let config = resource("merchant.yaml", "ConfigMap", "merchant-config");
    let merchant: toml::Table = toml::from_str(text(&config, "/data/merchant.toml")).unwrap();
    let config = resource("gateway-postgres.yaml", "ConfigMap", "gateway-config");
    let gateway: toml::Table = toml::from_str(text(&config, "/data/gateway.toml")).unwrap();
    // docs/PROTOCOL.md, section 1.
    for (name, usages) in [
        (
            "merchant-tls",
            json!(["digital signature", "server auth", "client auth"]),
        ),
        ("merchant-signing", json!(["digital signature"])),
    ] {
        let spec = &resource("cert-manager.yaml", "Certificate", name)["spec"];
        assert_eq!(spec["usages"], usages, "{name}");
        assert_eq!(
            spec["uris"],
            json!([merchant["name"].as_str().unwrap()]),
            "{name}"
        );
        assert_eq!(spec["privateKey"]["algorithm"], "ECDSA", "{name}");
        assert_eq!(spec["privateKey"]["size"], 256, "{name}");
        // What `mtls::pem` reads.
        assert_eq!(spec["privateKey"]["encoding"], "PKCS8", "{name}");
        assert_eq!(spec["secretName"], name);
        let issuer = resource("cert-manager.yaml", "Issuer", text(spec, "/issuerRef/name"));
        assert!(text(&issuer, "/spec/vault/path").ends_with(name.trim_start_matches("merchant-")));
    }
    let webhook = gateway["merchant"][0]["webhook"]["url"].as_str().unwrap();
    let host = webhook
        .trim_start_matches("https://")
        .split(':')
        .next()
        .unwrap();
    let tls = resource("cert-manager.yaml", "Certificate", "merchant-tls");
    assert!(
        list(&tls, "/spec/dnsNames").contains(&json!(host)),
        "{host}"
    );

    // The gateway's key is in its token, so there is a request that the token signed.
    let asked = resource(
        "gateway-certificate-request.yaml",
        "CertificateRequest",
        "gateway-tls-2",
    );
    let directory = TempDir::new().unwrap();
    let (encoded, request) = (
        directory.path().join("request.b64"),
        directory.path().join("request.pem"),
    );
    fs::write(&encoded, text(&asked, "/spec/request")).unwrap();
    succeeds(
        Command::new("openssl")
            .args(["base64", "-d", "-A", "-in"])
            .arg(&encoded)
            .arg("-out")
            .arg(&request),
    );
    let said = succeeds(
        Command::new("openssl")
            .args(["req", "-noout", "-text", "-verify", "-in"])
            .arg(&request),
    );
    let url = merchant["gateway"]["url"].as_str().unwrap();
    let host = url
        .trim_start_matches("https://")
        .split(':')
        .next()
        .unwrap();
    for wanted in [
        format!("URI:{}", gateway["name"].as_str().unwrap()),
        format!("DNS:{host}"),
    ] {
        assert!(said.contains(&wanted), "{wanted}: {said}");
    }
    assert_eq!(
        asked["spec"]["usages"],
        json!(["digital signature", "server auth", "client auth"])
    );
}
