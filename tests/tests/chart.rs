//! The Helm chart: what it makes is taken by a real API server, satisfies the Pod Security Standard
//! "restricted", and is what the real programs read.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize as _;
use serde_json::{Value, json};
use turnpike_tests::control_plane::{ControlPlane, Output};
use turnpike_tests::process::{clean_command, temp_dir};
use turnpike_tests::{tools, turnpike};

/// A release that uses every value which changes what is made.
fn everything() -> Value {
    json!({
        "fullnameOverride": "gate",
        "keySecrets": ["acme-key", "other-key"],
        "imagePullSecrets": [{"name": "registry"}],
        "operator": {"replicas": 1, "log": "info,turnpike_operator=debug", "podAnnotations": {"a": "b"},
            "serviceAccountAnnotations": {"a": "b"}, "nodeSelector": {"pool": "system"},
            "tolerations": [{"key": "system", "operator": "Exists"}]},
        "proxy": {
            "replicas": 3,
            "port": 8443,
            "adminPort": 9443,
            "issuingCaSecret": "issuing",
            "audit": {"topic": "projects/acme-audit/topics/turnpike", "spoolMib": 256, "volumeSize": "1Gi"},
            "env": [{"name": "GOOGLE_CLOUD_PROJECT", "value": "acme-dev"}],
            "files": {"jwks.json": "{\"keys\": []}"},
            "config": {
                "identity": {"issuers": [{"issuer": "https://issuer.example", "jwksFile": "jwks.json"}]},
                "upstreams": [{"host": "storage.googleapis.com", "address": "10.0.0.5:443"}],
                "tls": {"domains": ["googleapis.com", "private.example"]},
                "limits": {"maskedAnswerMib": 4},
            },
            "podAnnotations": {"a": "b"},
            "serviceAccountAnnotations": {"iam.gke.io/gcp-service-account": "gate@acme.iam.gserviceaccount.com"},
        },
    })
}

/// Runs helm on the chart with values, in a home of its own.
async fn helm(args: &[&str], values: &Value) -> Result<Output> {
    let home = temp_dir("helm")?;
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/turnpike");
    let file = home.path().join("values.json");
    fs::write(&file, values.to_string())?;
    let mut command = clean_command(tools::helm()?, home.path());
    // A helm that is built without its release's stamps takes the cluster for an old one.
    command
        .args(args)
        .arg(chart)
        .args(["--kube-version", "1.35.4", "--values"])
        .arg(file);
    run(command, &format!("helm {}", args.join(" "))).await
}

async fn run(command: std::process::Command, what: &str) -> Result<Output> {
    let mut command = tokio::process::Command::from(command);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .context(what.to_owned())?;
    Ok(Output {
        command: what.to_owned(),
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// What a release is made of.
struct Release(Vec<Value>);

impl Release {
    async fn render(namespace: &str, values: &Value) -> Result<Self> {
        let template = ["template", "turnpike", "--namespace", namespace];
        let text = helm(&template, values).await?.success()?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)?;
        Ok(Self(
            objects.into_iter().filter(|object| !object.is_null()).collect(),
        ))
    }

    fn get(&self, kind: &str, name: &str) -> Result<&Value> {
        let found = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
        self.0
            .iter()
            .find(found)
            .with_context(|| format!("no {kind} {name}"))
    }

    fn names(&self) -> Vec<String> {
        let name = |object: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
        };
        let mut names: Vec<String> = self.0.iter().map(name).collect();
        names.sort_unstable();
        names
    }

    /// The pod that a Deployment would make.
    fn pod(&self, deployment: &str) -> Result<Value> {
        let template = &self.get("Deployment", deployment)?["spec"]["template"];
        let mut pod = json!({"apiVersion": "v1", "kind": "Pod"});
        pod["metadata"] = template["metadata"].clone();
        pod["metadata"]["name"] = json!(deployment);
        pod["spec"] = template["spec"].clone();
        Ok(pod)
    }
}

/// A namespace that takes only pods of the standard "restricted".
async fn restricted(plane: &ControlPlane) -> Result<String> {
    let namespace = plane.namespace("chart").await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    let args = ["label", "namespace", &namespace, label];
    plane.admin().kubectl(&args, None).await?.success()?;
    Ok(namespace)
}

#[tokio::test]
async fn lint_finds_nothing() -> Result<()> {
    for values in [json!({}), everything()] {
        let output = helm(&["lint", "--strict"], &values).await?.success()?;
        ensure!(
            !output.contains("[WARNING]") && !output.contains("[ERROR]"),
            "{output}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn wrong_values_are_refused_with_the_reason() -> Result<()> {
    let cases = [
        (
            json!({"proxy": {"spool": {}}}),
            "additional properties 'spool' not allowed",
        ),
        (json!({"proxy": {"port": 80}}), "minimum: got 80, want 1,024"),
        (
            json!({"proxy": {"audit": {"topic": "turnpike"}}}),
            "'turnpike' does not match pattern",
        ),
        (
            json!({"proxy": {"config": {"listen": "0.0.0.0:1"}}}),
            "proxy.config.listen: the chart writes it; set proxy.port, proxy.adminPort and proxy.audit instead",
        ),
        (
            json!({"proxy": {"config": {"tls": {"caDir": "x"}}}}),
            "proxy.config.tls.caDir: the chart writes it; set proxy.issuingCaSecret instead",
        ),
    ];
    for (values, message) in cases {
        let output = helm(&["template", "turnpike"], &values).await?;
        ensure!(
            !output.status.success() && output.stderr.contains(message),
            "{values}: {output:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_chart_makes_these_objects() -> Result<()> {
    let default = Release::render("turnpike-system", &json!({})).await?;
    let mut expected = vec![
        "ClusterRole turnpike-approver",
        "ClusterRole turnpike-operator",
        "ClusterRole turnpike-policy-editor",
        "ClusterRole turnpike-proxy",
        "ClusterRole turnpike-viewer",
        "ClusterRoleBinding turnpike-operator",
        "ClusterRoleBinding turnpike-proxy",
        "ConfigMap turnpike-proxy",
        "Deployment turnpike-operator",
        "Deployment turnpike-proxy",
        "PodDisruptionBudget turnpike-proxy",
        "Role turnpike-operator",
        "Role turnpike-proxy",
        "RoleBinding turnpike-operator",
        "RoleBinding turnpike-proxy",
        "Service turnpike-operator",
        "Service turnpike-proxy",
        "Service turnpike-proxy-admin",
        "ServiceAccount turnpike-operator",
        "ServiceAccount turnpike-proxy",
        "ValidatingAdmissionPolicy turnpike-approvals",
        "ValidatingAdmissionPolicyBinding turnpike-approvals",
    ];
    assert_eq!(default.names(), expected);
    // Without names a rule on Secrets would mean all of them, so there is none.
    let touches_secrets = |object: &Value| object["rules"].to_string().contains("\"secrets\"");
    ensure!(!default.0.iter().any(touches_secrets));

    let keys = json!({"keySecrets": ["acme-key"]});
    let with_keys = Release::render("turnpike-system", &keys).await?;
    expected.extend(["Role turnpike-key-secrets", "RoleBinding turnpike-key-secrets"]);
    expected.sort_unstable();
    assert_eq!(with_keys.names(), expected);
    assert_eq!(
        with_keys.get("Role", "turnpike-key-secrets")?["rules"],
        json!([{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["acme-key"], "verbs": ["get"]}])
    );
    Ok(())
}

#[tokio::test]
async fn a_real_api_server_takes_every_object() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.apply_crds().await?;
    let namespace = restricted(plane).await?;
    for values in [json!({}), everything()] {
        let release = Release::render(&namespace, &values).await?;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": release.0});
        let apply = ["apply", "--dry-run=server", "--validate=strict", "-f", "-"];
        let output = plane.admin().kubectl(&apply, Some(&list.to_string())).await?;
        // A Deployment whose pods would be refused is taken with a warning.
        ensure!(
            !output.stderr.contains("would violate PodSecurity"),
            "{}",
            output.stderr
        );
        let taken = output.success()?.lines().count();
        assert_eq!(taken, release.0.len());
    }
    Ok(())
}

#[tokio::test]
async fn the_pods_are_restricted() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    let namespace = restricted(plane).await?;
    let create = async |object: &Value| {
        let args = ["create", "--dry-run=server", "-n", &namespace, "-f", "-"];
        plane.admin().kubectl(&args, Some(&object.to_string())).await
    };
    let release = Release::render(&namespace, &json!({})).await?;
    for name in ["turnpike-operator", "turnpike-proxy"] {
        // Admission of a pod wants its ServiceAccount to be there.
        let account = release.get("ServiceAccount", name)?.to_string();
        plane
            .admin()
            .kubectl(&["create", "-f", "-"], Some(&account))
            .await?
            .success()?;
        let mut pod = release.pod(name)?;
        create(&pod).await?.success()?;
        // The namespace does refuse what is not restricted.
        pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = json!(true);
        let refused = create(&pod).await?;
        ensure!(
            refused
                .stderr
                .contains("violates PodSecurity \"restricted:latest\""),
            "{refused:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn the_proxy_reads_its_configuration_and_finds_what_it_names() -> Result<()> {
    for (name, values) in [("turnpike", json!({})), ("gate", everything())] {
        let release = Release::render("turnpike-system", &values).await?;
        let files = &release.get("ConfigMap", &format!("{name}-proxy"))?["data"];
        let dir = temp_dir("chart")?;
        for (file, text) in files.as_object().context("a ConfigMap has data")? {
            fs::write(dir.path().join(file), text.as_str().context("text")?)?;
        }
        let path = dir.path().join("turnpike.yaml");
        let mut check = clean_command(turnpike::binary("turnpike-proxy")?, dir.path());
        check.arg("check-config").arg(&path);
        let said = run(check, "turnpike-proxy check-config").await?.success()?;
        assert_eq!(said, format!("{}: ok\n", path.display()));

        // Folders that the file names are mounted: the authority from its Secret, records where they can be
        // written; and the ports are those that Kubernetes knows.
        let config: Value = serde_saphyr::from_str(&fs::read_to_string(&path)?)?;
        let spec = &release.get("Deployment", &format!("{name}-proxy"))?["spec"]["template"]["spec"];
        let container = &spec["containers"][0];
        assert_eq!(
            container["args"],
            json!(["serve", "--config", "/etc/turnpike/config/turnpike.yaml"])
        );
        let secret = values["proxy"]["issuingCaSecret"]
            .as_str()
            .unwrap_or("turnpike-issuing-ca");
        let mounts = mounts(spec)?;
        let mount = |path: &Value| {
            let path = path.as_str().context("a path")?;
            let (volume, read_only) = mounts
                .get(path)
                .with_context(|| format!("{path} is not mounted"))?;
            Ok::<_, anyhow::Error>((volume, *read_only))
        };
        let (authority, read_only) = mount(&config["tls"]["caDir"])?;
        assert_eq!(
            (&authority["secret"]["secretName"], read_only),
            (&json!(secret), true)
        );
        let (records, read_only) = mount(&config["audit"]["dir"])?;
        ensure!(
            records["emptyDir"]["sizeLimit"].is_string() && !read_only,
            "{records}"
        );
        let (own, _) = mount(&json!("/etc/turnpike/config"))?;
        assert_eq!(own["configMap"]["name"], json!(format!("{name}-proxy")));
        let ports: Vec<String> = ["listen", "admin"]
            .iter()
            .map(|field| {
                config[*field]
                    .as_str()
                    .unwrap_or_default()
                    .replace("0.0.0.0:", "")
            })
            .collect();
        let declared = container["ports"].as_array().context("ports")?;
        let declared: Vec<String> = declared
            .iter()
            .map(|port| port["containerPort"].to_string())
            .collect();
        assert_eq!(ports, declared);
    }
    Ok(())
}

/// Volume and whether it is read-only, by the path that it is mounted at.
fn mounts(spec: &Value) -> Result<BTreeMap<String, (Value, bool)>> {
    let volumes = spec["volumes"].as_array().context("volumes")?;
    let mounts = spec["containers"][0]["volumeMounts"]
        .as_array()
        .context("mounts")?;
    mounts
        .iter()
        .map(|mount| {
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == mount["name"])
                .with_context(|| format!("no volume {}", mount["name"]))?;
            let path = mount["mountPath"].as_str().context("a path")?.to_owned();
            Ok((path, (volume.clone(), mount["readOnly"] == true)))
        })
        .collect()
}

#[tokio::test]
async fn the_programs_know_their_arguments() -> Result<()> {
    for (name, values) in [("turnpike", json!({})), ("gate", everything())] {
        let release = Release::render("turnpike-system", &values).await?;
        for program in ["operator", "proxy"] {
            let spec = &release.get("Deployment", &format!("{name}-{program}"))?["spec"]["template"]["spec"];
            let container = &spec["containers"][0];
            let args = Vec::<String>::deserialize(&container["args"])?;
            let home = temp_dir("chart")?;
            // What comes before --help has to be right; nothing is started.
            let mut command = clean_command(turnpike::binary(&format!("turnpike-{program}"))?, home.path());
            command.args(args).arg("--help");
            for variable in container["env"].as_array().context("env")? {
                let key = variable["name"].as_str().context("a name")?;
                command.env(key, variable["value"].as_str().unwrap_or("from-the-pod"));
            }
            let help = run(command, program).await?.success()?;
            ensure!(help.contains("Usage:"), "{help}");
            // Where lines break is nobody's business.
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            for variable in ["POD_NAMESPACE", "POD_NAME"] {
                ensure!(
                    help.contains(&format!("[env: {variable}=from-the-pod]")),
                    "{program}: {help}"
                );
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_authority_for_the_secret_is_made_and_never_written_over() -> Result<()> {
    let dir = temp_dir("authority")?;
    let folder = dir.path().join("turnpike-ca");
    let make = async |domains: &str| {
        let mut command = clean_command(turnpike::binary("turnpike-proxy")?, dir.path());
        command.args(["ca", "--domains", domains, "--out"]).arg(&folder);
        run(command, "turnpike-proxy ca").await
    };
    for wrong in ["*.googleapis.com", "com", "Googleapis.com", ""] {
        let output = make(wrong).await?;
        ensure!(
            output
                .stderr
                .contains("name a domain in lower case without a wildcard"),
            "{output:?}"
        );
    }
    make("googleapis.com,private.example").await?.success()?;
    let mut names: Vec<String> = fs::read_dir(&folder)?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    names.sort_unstable();
    assert_eq!(names, ["ca.pem", "issuing-key.pem", "issuing.pem"]);
    let again = make("googleapis.com").await?;
    let wanted = format!(
        "turnpike-proxy: {}/ca.pem is there already; nothing was written\n",
        folder.display()
    );
    assert_eq!((again.status.code(), again.stderr), (Some(1), wanted));

    // The chart mounts these very files.
    let release = Release::render("turnpike-system", &json!({})).await?;
    let spec = &release.get("Deployment", "turnpike-proxy")?["spec"]["template"]["spec"];
    let volumes = spec["volumes"].as_array().context("volumes")?;
    let Some(secret) = volumes.iter().find(|volume| volume["name"] == "issuing-ca") else {
        bail!("no volume for the authority");
    };
    let items = json!([
        {"key": "issuing.pem", "path": "issuing.pem"},
        {"key": "issuing-key.pem", "path": "issuing-key.pem"},
    ]);
    assert_eq!(secret["secret"]["items"], items);
    Ok(())
}

#[tokio::test]
async fn approvers_decide_and_write_nothing_else() -> Result<()> {
    let plane = ControlPlane::shared().await?;
    plane.apply_crds().await?;
    let namespace = plane.namespace("approvers").await?;
    let release = Release::render(&namespace, &json!({})).await?;
    let admin = async |object: &Value| {
        let args = ["create", "-n", &namespace, "-f", "-"];
        plane
            .admin()
            .kubectl(&args, Some(&object.to_string()))
            .await?
            .success()
    };
    for (role, user) in [("approver", "alice"), ("viewer", "victor")] {
        let name = format!("turnpike-{role}");
        admin(release.get("ClusterRole", &name)?).await?;
        admin(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        }))
        .await?;
    }
    admin(&json!({
        "apiVersion": "turnpike.dev/v1alpha1",
        "kind": "ApprovalRequest",
        "metadata": {"name": "held"},
        "spec": {
            "agent": {"name": "agents/coder"},
            "call": {"method": "m", "resources": [], "verb": "POST", "url": "u", "bodyBytes": 0},
            "policies": [{"namespace": "agents", "name": "coder", "uid": "1", "generation": 1, "rule": "deploy"}],
            "digest": format!("sha256:{}", "a".repeat(64)),
            "expiresAt": "2099-01-01T00:00:00Z",
        },
    }))
    .await?;
    let alice = plane.user("alice", &[])?;
    let victor = plane.user("victor", &[])?;
    let review = r#"{"status": {"reviews": {"alice": {"decision": "Approve"}}}}"#;
    let patch = [
        "-n",
        &namespace,
        "patch",
        "apr",
        "held",
        "--subresource=status",
        "--type=merge",
        "-p",
        review,
    ];
    let refused = victor.kubectl(&patch, None).await?;
    ensure!(
        refused
            .stderr
            .contains("cannot get resource \"approvalrequests/status\""),
        "{refused:?}"
    );
    alice.kubectl(&patch, None).await?.success()?;
    let get = [
        "-n",
        &namespace,
        "get",
        "apr",
        "held",
        "-o",
        "jsonpath={.status.reviews.alice.decision}",
    ];
    assert_eq!(victor.kubectl(&get, None).await?.success()?, "Approve");
    for (what, may) in [
        (["patch", "approvalrequests"], "no"),
        (["create", "approvalrequests"], "no"),
        (["delete", "approvalrequests"], "no"),
        (["approve", "agentpolicies"], "yes"),
        (["patch", "agentpolicies"], "no"),
        (["create", "agentpolicies"], "no"),
        (["list", "agentpolicies"], "yes"),
    ] {
        let can = alice
            .kubectl(
                &[&["auth", "can-i", "-n", &namespace], what.as_slice()].concat(),
                None,
            )
            .await?;
        assert_eq!(can.stdout.trim(), may, "{what:?}: {}", can.stderr);
    }
    Ok(())
}
