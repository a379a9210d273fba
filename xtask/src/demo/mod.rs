//! `cargo xtask demo`: Turnpike's main job, played in front of you. No cluster, no account, nothing to set
//! up: the proxy runs standalone with its example policies, a stand-in answers for Google, and an agent
//! works through it with the real gcloud, or with a built-in client where there is none.

mod agent;
mod stage;

use std::{
    io::{BufRead as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use self::{
    agent::{Agent, Played},
    stage::Stage,
};

/// How to play it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Wait for you to approve the held call, in another terminal or by pressing Enter.
    #[arg(long)]
    interactive: bool,
    /// Leave everything running at the end, and print the environment for an agent of your own.
    #[arg(long)]
    keep: bool,
    /// Play the agent with the built-in client, even where gcloud is installed.
    #[arg(long)]
    no_gcloud: bool,
}

/// # Errors
/// A program cannot be built or started, or the story does not go as it should.
pub(crate) fn run(args: &Args) -> Result<()> {
    println!("Building the proxy, the CLI and the stand-in for Google ...");
    let programs = stage::build()?;
    let started = Instant::now();
    let stage = Stage::set(&programs)?;
    let agent = Agent::new(&stage, args.no_gcloud)?;
    say(&format!(
        "Turnpike runs on {}. The agent is \"agents/coder\": it has a short-lived token that means nothing at Google,\n\
         and reaches Google through the proxy alone. It works with {}.",
        stage.proxy,
        agent.tool()
    ));

    say("1. A call that a rule allows: list buckets.");
    let played = agent.list_buckets()?;
    played.show();
    ensure!(
        played.succeeded && played.out.contains("acme-dev-data"),
        "the list was not allowed"
    );

    say("2. A call that is allowed, and whose answer holds a secret. It is masked on the way back:");
    let played = agent.access_secret()?;
    played.show();
    ensure!(
        played.succeeded && !played.out.contains(stage::SECRET),
        "the secret was not masked"
    );
    ensure!(agent.sees_mask(&played), "the masked secret did not arrive");

    say("3. A call that needs a person: deploy a service. The call is held, the agent waits.");
    let played = deploy(&stage, &agent, args)?;
    played.show();
    ensure!(played.succeeded, "the approved deploy failed");

    say("4. A call that no one may make: create a service account key.");
    let played = agent.create_key()?;
    played.show();
    ensure!(!played.succeeded, "the key was created");
    ensure!(
        played.err.contains("Agents create no keys"),
        "the refusal does not tell the rule's message"
    );

    say(
        "5. What Google saw: only what was allowed, and with the gateway's credential instead of the agent's token.",
    );
    stage.show_requests()?;

    say("6. What the audit log holds: an intent before each call went out, and its outcome.");
    stage.show_trail()?;

    println!("\nThe story took {:.1} s.", started.elapsed().as_secs_f64());
    if args.keep {
        keep(&stage)?;
    }
    Ok(())
}

fn say(text: &str) {
    println!("\n\x1b[1m{text}\x1b[0m");
}

/// The held call: shows the request, lets it be approved, and waits for the agent to go on.
fn deploy(stage: &Stage, agent: &Agent<'_>, args: &Args) -> Result<Played> {
    let running = agent.start_deploy()?;
    let name = stage.wait_for_request()?;
    println!("\n$ kubectl-turnpike --config {} pending", stage.dir().display());
    stage.cli(&["pending"])?;
    if args.interactive {
        println!(
            "\nLook at {}/approvals/{name}.yaml. Approve it in another terminal:\n  {} --config {} approve {name} --reason \"...\"\nor press Enter to approve it here.",
            stage.dir().display(),
            stage.cli_path().display(),
            stage.dir().display()
        );
        std::io::stdout().flush()?;
        wait_for_person(stage, &name)?;
    }
    if stage.is_pending(&name)? {
        println!(
            "\n$ kubectl-turnpike --config {} approve {name} --reason \"reviewed with the team\" --as alice",
            stage.dir().display()
        );
        stage.cli(&[
            "approve",
            &name,
            "--reason",
            "reviewed with the team",
            "--as",
            "alice",
        ])?;
    }
    stage.wait_until_spent(&name)?;
    running.finish()
}

/// Until Enter is pressed, or the request is decided elsewhere.
fn wait_for_person(stage: &Stage, name: &str) -> Result<()> {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // At the end of the input nobody will press Enter any more.
        if std::io::stdin().lock().read_line(&mut line).is_ok_and(|n| n > 0) {
            tell.send(()).ok();
        }
    });
    let until = Instant::now() + Duration::from_secs(230);
    while Instant::now() < until {
        if told.recv_timeout(Duration::from_millis(200)).is_ok() || !stage.is_pending(name)? {
            return Ok(());
        }
    }
    bail!("nobody approved in time; run the demo again")
}

fn keep(stage: &Stage) -> Result<()> {
    say("Everything keeps running until you press Ctrl-C. For an agent of your own:");
    for (name, value) in agent::environment(stage) {
        println!("export {name}={value}");
    }
    println!(
        "unset REQUESTS_CA_BUNDLE CURL_CA_BUNDLE    # gcloud would prefer them to the certificate above"
    );
    println!(
        "# curl:   curl --cacert $CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE -H \"Authorization: Bearer $(cat $CLOUDSDK_AUTH_ACCESS_TOKEN_FILE)\" https://storage.googleapis.com/storage/v1/b?project=acme-dev"
    );
    println!(
        "# policy: {}/policies/coder.yaml (edit it while this runs)",
        stage.dir().display()
    );
    println!("# audit:  {}/audit/topic.jsonl", stage.dir().display());
    stage.wait().context("the proxy ended")
}
