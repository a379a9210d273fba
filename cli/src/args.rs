//! The command line. It is parsed here once; what needs a file or a cluster to be judged is judged by the
//! command itself.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// See and decide the calls of AI agents that wait for a person, and check and explain policies.
///
/// Without --config it works on the cluster of your kubeconfig, as kubectl does; with --config DIR on the
/// folder of a standalone proxy.
#[derive(Debug, Parser)]
#[command(
    name = "kubectl-turnpike",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done; 1 it failed, or `check` found problems; 2 the command line is wrong, or \
                  `check` cannot read a file."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where approval requests are, and as whom to act.
#[derive(Debug, Args)]
#[command(next_help_heading = "Where")]
pub(crate) struct Target {
    /// Folder of a standalone proxy (the one with turnpike.yaml), instead of a cluster.
    #[arg(long, global = true, value_name = "DIR", conflicts_with_all = ["context", "kubeconfig"])]
    pub(crate) config: Option<PathBuf>,
    /// Namespace of the approval requests. Default: that of the kubeconfig's context; with --config all.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current one.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The kubeconfig. Default: $KUBECONFIG, then ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// User to act as. In a cluster by impersonation, as with kubectl; with --config the name that your
    /// review is written under. Default: who you are to the API server; with --config $USER, or your
    /// login name.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) as_user: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the calls that wait for a person, the most urgent first.
    Pending(PendingArgs),
    /// Let a call through, once: that very call, with that very body.
    Approve(ReviewArgs),
    /// Refuse a call; the agent is told the reason.
    Deny(ReviewArgs),
    /// Compile policies without a cluster, and say what is wrong with them, with line and column.
    #[command(
        after_help = "Exit codes: 0 all is fine (warnings do not count); 1 there are problems; 2 the \
                            command line is wrong, or a file cannot be read.\n\n\
                            A problem is written as FILE:LINE:COLUMN: FIELD: what is wrong."
    )]
    Check(CheckArgs),
    /// Say what Turnpike takes a request for: method, resource, traits; or why it is refused.
    #[command(after_help = "Examples:\n  \
            kubectl turnpike explain GET https://storage.googleapis.com/storage/v1/b/my-bucket/o\n  \
            kubectl turnpike explain - < requests.txt > answers.jsonl\n\n\
            It says what a request is, not whether a policy allows it. It exits with 0 also for a request that \
            it cannot place: that is an answer. In JSON such a request has \"method\":null and a \"reason\".")]
    Explain(ExplainArgs),
    /// Say what a change of policies changes: which calls become allowed, held or denied.
    #[command(after_help = "Examples:\n  \
            kubectl turnpike diff policies.old/ policies/\n  \
            git show main:policy.yaml | kubectl turnpike diff --exit-code - policy.yaml\n\n\
            Every method and every name that a glob of either side tells apart is decided twice. What conditions \
            come to is not known, so it says when a call is decided otherwise. A condition that cannot be evaluated \
            counts as true for rules that deny or hold, and as false for rules that allow.\n\n\
            Exit codes: 0 it was told; 1 with --exit-code, something is different; 2 a file cannot be read, or is no \
            policy.")]
    Diff(DiffArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PendingArgs {
    /// Of all namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
    /// How to print them; json and yaml print the whole resources.
    #[arg(short, long, value_enum, default_value_t = ListFormat::Table, value_name = "FORMAT")]
    pub(crate) output: ListFormat,
}

#[derive(Debug, Args)]
pub(crate) struct ReviewArgs {
    /// Name of the approval request, as `pending` and the agent's error show it.
    pub(crate) name: String,
    /// Why, in your own words: for the agent and the audit log.
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(crate) reason: Option<String>,
    /// Wait until the review is settled, and say what came of it.
    #[arg(
        long,
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        value_name = "BOOL"
    )]
    pub(crate) wait: bool,
    /// How long to wait at most.
    #[arg(long, default_value = "5s", value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files with AgentPolicies, several documents a file allowed; `-` is standard input, and of a folder
    /// all *.yaml and *.yml in it. Default: with --config DIR, DIR/policies.
    #[arg(value_name = "FILE", required_unless_present = "config")]
    pub(crate) files: Vec<PathBuf>,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// Labels of namespaces, for policies that select by them: what `kubectl get namespaces -o yaml` prints, or a
    /// file with `namespaces:` as in turnpike.yaml.
    #[arg(long, value_name = "FILE")]
    pub(crate) namespaces: Option<PathBuf>,
    /// How to print what was found.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// HTTP verb, such as GET; or `-` to read lines of `VERB URL` from standard input and write one JSON
    /// object a line.
    #[arg(value_name = "VERB")]
    pub(crate) verb: String,
    /// The whole URL, with https://.
    #[arg(value_name = "URL")]
    pub(crate) url: Option<String>,
    /// How to print the answer; json is one line.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The policies of now: a file, a folder with *.yaml and *.yml, or `-` for standard input.
    #[arg(value_name = "OLD")]
    pub(crate) old: PathBuf,
    /// The policies to come, in the same forms.
    #[arg(value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// Exit with 1 if anything is different.
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Turnpike's own namespace: policies there may select agents of every namespace.
    #[arg(long, default_value = "turnpike-system", value_name = "NAME")]
    pub(crate) gateway_namespace: String,
    /// How to print what is different.
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(crate) output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Text,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Yaml,
}

/// The bound of `status.reviews[].reason` in the API.
const MAX_REASON: usize = 1024;

fn reason(text: &str) -> Result<String, String> {
    let length = text.chars().count();
    if text.trim().is_empty() {
        return Err("say why, or leave --reason away".to_owned());
    }
    if length > MAX_REASON {
        return Err(format!(
            "it has {length} characters; a reason has {MAX_REASON} at most"
        ));
    }
    Ok(text.to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    turnpike_compiler::parse_duration(text).map_err(|e| e.to_string())
}
