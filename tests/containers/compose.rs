//! The image and compose.yaml on a Docker engine: a cluster that one command starts, the death of its leader, an upgrade
//! node by node, and what a careful site asks of an image.
//!
//! `tests/containers/run` builds the image and runs these. They try the image that `KVORUM_IMAGE` names and take nothing else
//! for it: where it is set, a missing engine or image is an error; where not, they say that they were skipped. Each test
//! starts a cluster of its own, on free ports, with volumes that go with it.

#![allow(clippy::disallowed_methods, reason = "tests drive real processes and clocks")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testcontainers::compose::DockerCompose;
use testcontainers::core::WaitFor;
use testcontainers::core::wait::ExitWaitStrategy;
use testcontainers::runners::AsyncRunner;
use testcontainers::{GenericImage, ImageExt};

/// The variable that names the image.
const IMAGE: &str = "KVORUM_IMAGE";

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest time in which a cluster finds a new leader and answers; a slow machine that builds beside it has it too.
const FAILOVER: Duration = Duration::from_secs(10);

const NODES: [&str; 3] = ["kvorum-1", "kvorum-2", "kvorum-3"];

/// Where a node takes requests inside its container.
const PORT: u16 = 8080;

/// The image to try; without one the test is over, and says so past the capture of its output.
fn image(test: &str) -> Option<String> {
    let image = std::env::var(IMAGE).ok().filter(|image| !image.is_empty());
    if image.is_none() {
        let engine = if docker(&["version"]).is_ok() { "" } else { ", and no Docker engine answers" };
        let text =
            format!("SKIPPED: {test}: {IMAGE} names no image{engine}; tests/containers/run makes one\n");
        std::io::stderr().write_all(text.as_bytes()).expect("standard error can be written");
    }
    image
}

/// Runs the docker command and gives what it printed, or what it said when it failed.
fn docker(arguments: &[&str]) -> Result<String, String> {
    printed(Command::new("docker").args(arguments))
}

fn printed(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("docker cannot be run: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A cluster as compose.yaml describes it. It goes with its volumes when it is dropped.
struct Cluster {
    image: String,
    project: String,
    _up: DockerCompose,
}

impl Cluster {
    /// What `docker compose up -d --wait` makes.
    async fn up(image: &str, name: &str) -> Cluster {
        let project = format!("kvorum-{name}-{}", std::process::id());
        let mut compose = DockerCompose::with_local_client(&[root().join("compose.yaml")])
            .with_project_name(&project)
            .with_env(IMAGE, image);
        for (name, port) in Cluster::ports() {
            compose = compose.with_env(name, port);
        }
        compose.up().await.expect("the cluster starts");
        Cluster { image: image.to_owned(), project, _up: compose }
    }

    /// The variables that let the engine choose free ports.
    fn ports() -> [(String, &'static str); 3] {
        [1, 2, 3].map(|n| (format!("KVORUM_PORT_{n}"), ""))
    }

    /// Runs `docker compose` on this cluster.
    fn compose(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("docker");
        command.current_dir(root()).args(["compose", "--project-name", &self.project]).args(arguments);
        printed(command.env(IMAGE, &self.image).envs(Cluster::ports()))
    }

    /// What the engine knows of a node's container.
    fn inspect(&self, node: &str) -> Value {
        let id = self.compose(&["ps", "--all", "--quiet", node]).expect("the node has a container");
        let known = docker(&["inspect", &id]).expect("the container can be looked at");
        serde_json::from_str::<Value>(&known).expect("JSON")[0].clone()
    }

    /// Sends a request from the host: a status and a body, or why there was no answer.
    fn send(&self, node: &str, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
        // A container that is started again gets another port.
        let address = self.compose(&["port", node, &PORT.to_string()])?;
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(PATIENCE))
            .build()
            .new_agent();
        let request = ureq::http::Request::builder().method(method).uri(format!("http://{address}{path}"));
        let answer = match method {
            "PUT" => agent.run(request.body(body).expect("a request")),
            _ => agent.run(request.body(()).expect("a request")),
        };
        let mut answer = answer.map_err(|error| error.to_string())?;
        let body = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
        Ok((answer.status().as_u16(), body))
    }

    fn put(&self, node: &str, key: &str, value: &str) {
        let (status, body) = self.send(node, "PUT", &format!("/v1/kv/{key}"), value).expect("an answer");
        assert!(matches!(status, 200 | 201), "{key} on {node}: {status} {body}");
    }

    fn assert_holds(&self, node: &str, key: &str, value: &str) {
        let found = self.send(node, "GET", &format!("/v1/kv/{key}"), "").expect("an answer");
        assert_eq!(found, (200, value.to_owned()), "{key} on {node}");
    }

    fn role(&self, node: &str) -> Option<String> {
        let (_, stats) = self.send(node, "GET", "/v1/stats", "").ok()?;
        let stats: Value = serde_json::from_str(&stats).ok()?;
        stats["role"].as_str().map(str::to_owned)
    }

    fn leader(&self) -> &'static str {
        let leads = |node: &&str| self.role(node).is_some_and(|role| role == "leader");
        eventually("a leader", || NODES.into_iter().find(leads))
    }

    /// Runs the program in a container of its own on the network of the nodes, as an application beside them would.
    async fn client(&self, node: &str, arguments: &[&str]) {
        let (name, tag) = self.image.rsplit_once(':').unwrap_or((&self.image, "latest"));
        let url = format!("http://{node}:{PORT}");
        let done = WaitFor::exit(ExitWaitStrategy::new().with_exit_code(0));
        let client = GenericImage::new(name, tag)
            .with_wait_for(done)
            .with_cmd(arguments.iter().copied())
            .with_env_var("KVORUM_URL", url)
            .with_network(format!("{}_default", self.project));
        client.start().await.expect("the client succeeds");
    }
}

/// Waits until something holds.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// What compose.yaml says of the rights of a node arrives at the engine.
fn assert_few_rights(cluster: &Cluster) {
    for node in NODES {
        let host = cluster.inspect(node)["HostConfig"].clone();
        assert_eq!(host["ReadonlyRootfs"], true, "{node}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{node}");
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true"]), "{node}");
        assert_eq!(host["Memory"], 1_u64 << 30, "{node}");
        let bound = host["PortBindings"][format!("{PORT}/tcp")].as_array().expect("a port").clone();
        assert!(bound.iter().all(|to| to["HostIp"] == "127.0.0.1"), "{node} is published on loopback only");
    }
}

/// Goal: one command makes a cluster that any node and any container beside it can use; when the container of the leader is
/// killed, writes go on and nothing acknowledged is lost; started again, it catches up.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_outlives_the_container_of_its_leader() {
    let Some(image) = image("a_cluster_outlives_the_container_of_its_leader") else { return };
    let cluster = Cluster::up(&image, "failover").await;
    assert_few_rights(&cluster);
    cluster.put(NODES[0], "before", "written on 1");
    cluster.assert_holds(NODES[1], "before", "written on 1");
    cluster.assert_holds(NODES[2], "before", "written on 1");
    cluster.client(NODES[1], &["set", "beside", "written in a container"]).await;
    cluster.assert_holds(NODES[2], "beside", "written in a container");

    let leader = cluster.leader();
    let others: Vec<&str> = NODES.into_iter().filter(|node| *node != leader).collect();
    cluster.compose(&["kill", leader]).expect("the leader is killed");
    let killed = Instant::now();
    cluster.put(others[0], "after", "written without it");
    let gap = killed.elapsed();
    assert!(gap < FAILOVER, "writes were away for {gap:?}");
    for node in &others {
        cluster.assert_holds(node, "after", "written without it");
        cluster.assert_holds(node, "before", "written on 1");
        cluster.assert_holds(node, "beside", "written in a container");
    }

    cluster.compose(&["up", "-d", "--no-deps", "--wait", leader]).expect("it comes back");
    cluster.assert_holds(leader, "after", "written without it");
}

/// Goal: the README's upgrade, node by node with `up -d --no-deps --wait`, keeps the data, the secret and the service; and a
/// node that is stopped ends by itself and in time.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_replaced_one_by_one() {
    let Some(image) = image("nodes_are_replaced_one_by_one") else { return };
    let cluster = Cluster::up(&image, "upgrade").await;
    cluster.put(NODES[0], "kept", "from the start");
    for (n, node) in NODES.into_iter().enumerate() {
        let before = cluster.inspect(node)["Id"].clone();
        cluster
            .compose(&["up", "-d", "--no-deps", "--wait", "--force-recreate", node])
            .expect("it is replaced");
        assert_ne!(cluster.inspect(node)["Id"], before, "{node} is another container");
        cluster.put(NODES[(n + 1) % 3], "count", &n.to_string());
        cluster.assert_holds(node, "count", &n.to_string());
        cluster.assert_holds(node, "kept", "from the start");
    }
    let said = cluster.compose(&["run", "--rm", "secret"]).expect("the secret is asked for again");
    assert!(said.contains("stays as it is"), "{said}");

    cluster.compose(&["stop", NODES[0]]).expect("it is stopped");
    let state = cluster.inspect(NODES[0])["State"].clone();
    assert_eq!((&state["ExitCode"], &state["OOMKilled"]), (&0.into(), &false.into()), "{state}");
}

/// Goal: the image runs without rights and without a shell, and says what it is.
#[test]
fn the_image_holds_little_and_asks_for_little() {
    let Some(image) = image("the_image_holds_little_and_asks_for_little") else { return };
    let known = docker(&["image", "inspect", &image]).expect("the image is there");
    let known = serde_json::from_str::<Value>(&known).expect("JSON")[0]["Config"].clone();
    assert_eq!((&known["User"], &known["StopSignal"]), (&"65532:65532".into(), &"SIGTERM".into()));
    assert_eq!(known["Volumes"], json!({"/data": {}}));
    assert!(known["Healthcheck"]["Test"].to_string().contains("healthcheck"), "{known}");
    let version = known["Labels"]["org.opencontainers.image.version"].as_str().expect("a label");
    assert!(docker(&["run", "--rm", &image, "--version"]).expect("it runs").ends_with(version), "{version}");
    for shell in ["/bin/sh", "/bin/bash", "/busybox/sh"] {
        let shell = docker(&["run", "--rm", "--entrypoint", shell, &image, "-c", "true"]);
        assert!(shell.is_err_and(|said| said.contains("no such file")), "there is no shell");
    }
}
