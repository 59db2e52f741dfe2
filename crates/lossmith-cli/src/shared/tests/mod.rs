//! Faults against a real server: whatever dies, every candidate has exactly one outcome and the search ends as undisturbed.

mod server;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lossmith::expr::{CLASS_VARIABLES, Expr};
use lossmith_search::gp::{Gp, GpState, Settings as GpSettings};

use self::server::{Proxy, Server, kill_group, url};
use super::address::Address;
use super::coordinator::coordinate;
use super::postgres::Store;
use super::worker::{Settings, work};
use super::{Ending, Identity, Outcome, Step};

const GENERATIONS: u64 = 3;
const POPULATION: usize = 10;
/// A short lease, so that tests need not wait long; a sign of life comes ten times as often.
const LEASE: Duration = Duration::from_secs(3);

fn identity() -> Identity {
    Identity { version: "1.0".into(), data: "abc".into(), recipe: "population = 10".into() }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

/// A small search by genetic programming, whose result names every tree and fitness of its last generation.
fn search(told: Option<(&str, &[Outcome])>) -> anyhow::Result<Step> {
    let mut gp = match told {
        None => {
            let settings = GpSettings { population: POPULATION, elites: 2, ..GpSettings::default() };
            Gp::new(settings, CLASS_VARIABLES, 42)?
        }
        Some((state, _)) => Gp::resume(serde_json::from_str::<GpState>(state)?, CLASS_VARIABLES)?,
    };
    let trees = |gp: &Gp| gp.generation().iter().map(|t| t.display(CLASS_VARIABLES).to_string()).collect::<Vec<_>>();
    if let Some((_, outcomes)) = told {
        let fitness: Vec<f64> = outcomes.iter().map(|o| o.fitness.unwrap_or(0.0)).collect();
        if gp.number() + 1 == GENERATIONS {
            return Ok(Step::Finish { result: format!("{:?} {fitness:?}", trees(&gp)) });
        }
        gp.tell(&fitness)?;
    }
    Ok(Step::Evaluate { state: serde_json::to_string(&gp.state())?, tasks: trees(&gp) })
}

/// Any fixed function of the formula.
fn fitness(task: &str) -> anyhow::Result<Outcome> {
    let nodes = Expr::parse(task, CLASS_VARIABLES)?.nodes().len();
    let letters: u32 = task.bytes().map(u32::from).sum();
    let fitness = f64::from(letters % 97) / 97.0 / (1.0 + nodes as f64 / 50.0);
    Ok(Outcome { ending: Ending::Done, fitness: Some(fitness), detail: String::new() })
}

/// The search without any database.
fn undisturbed() -> String {
    let mut step = search(None).unwrap();
    loop {
        match step {
            Step::Finish { result } => return result,
            Step::Evaluate { state, tasks } => {
                let outcomes: Vec<Outcome> = tasks.iter().map(|t| fitness(t).unwrap()).collect();
                step = search(Some((&state, &outcomes))).unwrap();
            }
        }
    }
}

/// A worker in a process of its own: this very program, at the test below.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(url: &str, name: &str, milliseconds: u64) -> Self {
        let process = {
            use std::os::unix::process::CommandExt;
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "shared::tests::a_worker_process", "--ignored", "--nocapture"])
                .env("LOSSMITH_TEST_WORKER", format!("{url} {name} {milliseconds}"))
                .stdout(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap()
        };
        Self(process)
    }

    /// Waits until it ends by itself, well.
    fn finish(mut self) {
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        kill_group(&mut self.0);
    }
}

#[test]
#[ignore = "the other tests start it as a process of its own"]
fn a_worker_process() {
    let Ok(text) = std::env::var("LOSSMITH_TEST_WORKER") else { return };
    let [url, name, milliseconds] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("three words") };
    let pause = Duration::from_millis(milliseconds.parse().unwrap());
    let settings = Settings { name: name.to_owned(), lease: LEASE, ..Settings::new(0) };
    let evaluate = |task: &str, _: &AtomicBool| {
        thread::sleep(pause);
        fitness(task)
    };
    work(&address(url), &identity(), &settings, evaluate, || false).unwrap();
}

fn lead(url: &str) -> String {
    let mut store = Store::begin(&address(url), &identity()).unwrap();
    coordinate(&mut store, search, || false).unwrap().unwrap()
}

/// Begins the study and waits until its first generation stands, so that workers may join.
fn begin(url: &str) {
    let mut store = Store::begin(&address(url), &identity()).unwrap();
    if store.position().unwrap().generation < 0 {
        let Step::Evaluate { state, tasks } = search(None).unwrap() else { panic!("begins with a generation") };
        assert!(store.advance(-1, &state, &tasks).unwrap());
    }
}

/// Every candidate has exactly one outcome; returns the number of attempts of each candidate that needed more than one. On a
/// machine so busy that a sign of life comes too late these are more than the faults of the test.
fn check_outcomes(server: &Server, study: &str) -> Vec<i32> {
    let rows = server
        .client()
        .query(
            "SELECT c.state, c.attempt, count(o.ending) FROM lossmith_candidate c
             LEFT JOIN lossmith_outcome o USING (study, generation, place)
             JOIN lossmith_study s ON s.id = c.study AND s.name = $1
             GROUP BY c.study, c.generation, c.place, c.state, c.attempt ORDER BY c.generation, c.place",
            &[&study],
        )
        .unwrap();
    assert_eq!(rows.len(), POPULATION * GENERATIONS as usize);
    assert!(rows.iter().all(|row| row.get::<_, &str>(0) == "closed" && row.get::<_, i64>(2) == 1));
    rows.iter().map(|row| row.get(1)).filter(|attempt| *attempt > 1).collect()
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited too long until {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_worker_or_four_give_the_same_search() {
    let Some(server) = Server::shared() else { return };
    for workers in [1, 4] {
        let study = format!("workers-{workers}");
        begin(&server.url(&study));
        let processes: Vec<WorkerProcess> =
            (0..workers).map(|k| WorkerProcess::start(&server.url(&study), &format!("w{k}"), 5)).collect();
        assert_eq!(lead(&server.url(&study)), undisturbed());
        check_outcomes(&server, &study);
        processes.into_iter().for_each(WorkerProcess::finish);
        let progress = Store::progress(&address(&server.url(&study))).unwrap();
        assert_eq!((progress.finished, progress.candidates), (true, [("done".to_owned(), 30)].into()));
    }
}

#[test]
fn a_worker_killed_in_mid_candidate_loses_nothing() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("killed-worker");
    begin(&url);
    let victim = WorkerProcess::start(&url, "victim", 60_000);
    wait_until("the victim holds a lease", || !Store::progress(&address(&url)).unwrap().leases.is_empty());
    drop(victim);
    let heir = WorkerProcess::start(&url, "heir", 5);
    assert_eq!(lead(&url), undisturbed());
    assert!(!check_outcomes(&server, "killed-worker").is_empty(), "the victim's candidate was done again");
    heir.finish();
}

#[test]
fn a_server_killed_and_started_again_loses_nothing() {
    let Some(server) = Server::start() else { return };
    let url = server.url("killed-server");
    begin(&url);
    let workers = [0, 1].map(|k| WorkerProcess::start(&url, &format!("w{k}"), 100));
    thread::scope(|scope| {
        let leader = scope.spawn(|| lead(&url));
        for outcomes in [5, 15] {
            let done =
                || Store::progress(&address(&url)).unwrap().candidates.get("done").is_some_and(|n| *n >= outcomes);
            wait_until("some candidates are done", done);
            server.kill();
            thread::sleep(Duration::from_millis(300));
            server.start_again();
        }
        assert_eq!(leader.join().unwrap(), undisturbed());
    });
    check_outcomes(&server, "killed-server");
    workers.into_iter().for_each(WorkerProcess::finish);
}

#[test]
fn a_line_that_is_cut_again_and_again_loses_nothing() {
    let Some(server) = Server::shared() else { return };
    let proxy = Proxy::to(server.port());
    let through = url(proxy.port(), "cut-line");
    begin(&through);
    let workers = [0, 1].map(|k| WorkerProcess::start(&through, &format!("w{k}"), 150));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let cutter = scope.spawn(|| {
            let mut cut = 0;
            while !over.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(170));
                cut += proxy.cut();
            }
            cut
        });
        let result = lead(&through);
        over.store(true, Ordering::Relaxed);
        assert_eq!(result, undisturbed());
        assert!(cutter.join().unwrap() >= 3, "the line was cut in earnest");
    });
    check_outcomes(&server, "cut-line");
    workers.into_iter().for_each(WorkerProcess::finish);
}

#[test]
fn two_coordinators_at_once_lead_to_the_same_end() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("two-coordinators");
    thread::scope(|scope| {
        let leaders = [0; 3].map(|_| scope.spawn(|| lead(&url)));
        wait_until("the study has begun", || Store::progress(&address(&url)).is_ok());
        let workers = [0, 1].map(|k| WorkerProcess::start(&url, &format!("w{k}"), 5));
        for leader in leaders {
            assert_eq!(leader.join().unwrap(), undisturbed());
        }
        workers.into_iter().for_each(WorkerProcess::finish);
    });
    check_outcomes(&server, "two-coordinators");
}

#[test]
fn an_outcome_that_comes_too_late_does_not_count() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("late");
    begin(&url);
    let join = || Store::join(&address(&url), &identity()).unwrap();
    let (mut slow, mut quick) = (join(), join());
    let short = Duration::from_millis(200);
    let old = slow.take("slow", short).unwrap().unwrap();
    assert!(slow.renew(&old, short).unwrap());
    thread::sleep(2 * short);
    let new = quick.take("quick", LEASE).unwrap().unwrap();
    assert_eq!((new.generation, new.place, new.attempt), (old.generation, old.place, old.attempt + 1));

    let good = fitness(&new.task).unwrap();
    let wrong = Outcome { fitness: Some(1e9), ..good.clone() };
    assert!(!slow.renew(&old, short).unwrap());
    assert!(!slow.close(&old, &wrong).unwrap(), "before the new one is in");
    slow.give_back(&old, Some("too slow")).unwrap();
    assert!(quick.close(&new, &good).unwrap());
    assert!(!slow.close(&old, &wrong).unwrap(), "after the new one is in");
    assert!(!quick.close(&new, &good).unwrap(), "stored once only");

    let worker = WorkerProcess::start(&url, "w", 5);
    assert_eq!(lead(&url), undisturbed());
    assert!(!check_outcomes(&server, "late").is_empty());
    worker.finish();
}

#[test]
fn failing_candidates_are_tried_again_then_given_up_and_keep_their_errors() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("failing");
    begin(&url);
    let settings = Settings { name: "w".into(), lease: LEASE, ..Settings::new(0) };
    let bad = search(None).unwrap();
    let Step::Evaluate { tasks, .. } = bad else { panic!("begins with a generation") };
    let evaluate = |task: &str, _: &AtomicBool| match tasks.iter().position(|t| t == task) {
        Some(0) => anyhow::bail!("out of memory"),
        Some(1) => panic!("a bug"),
        _ => fitness(task),
    };
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(&address(&url), &identity(), &settings, evaluate, || false));
        lead(&url);
        worker.join().unwrap().unwrap();
    });
    let progress = Store::progress(&address(&url)).unwrap();
    assert!(progress.candidates["failed"] >= 2, "{progress:?}");
    assert!(
        progress.failures.iter().all(|f| f.worker == "w" && (f.error == "out of memory" || f.error.contains("a bug")))
    );
    let mut client = server.client();
    let most: i32 = client.query_one("SELECT max(attempt) FROM lossmith_failure", &[]).unwrap().get(0);
    assert_eq!(most, super::MOST_ATTEMPTS);
}

#[test]
fn a_worker_that_is_told_to_stop_gives_its_candidate_back_unharmed() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("stopped");
    begin(&url);
    let stop = AtomicBool::new(false);
    let settings = Settings { name: "w".into(), lease: LEASE, ..Settings::new(0) };
    let evaluate = |_: &str, unwanted: &AtomicBool| {
        stop.store(true, Ordering::Relaxed);
        wait_until("the flag is raised", || unwanted.load(Ordering::Relaxed));
        anyhow::bail!("stopped")
    };
    let stored = work(&address(&url), &identity(), &settings, evaluate, || stop.load(Ordering::Relaxed)).unwrap();
    assert_eq!(stored, 0);
    let progress = Store::progress(&address(&url)).unwrap();
    assert_eq!((progress.candidates, progress.failures), ([("queued".to_owned(), 10)].into(), vec![]));
}

#[test]
fn strangers_are_refused() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("strangers");
    begin(&url);
    for (other, part) in [
        (Identity { version: "2.0".into(), ..identity() }, "program version"),
        (Identity { data: "xyz".into(), ..identity() }, "data (checksum)"),
        (Identity { recipe: "population = 11".into(), ..identity() }, "recipe"),
    ] {
        for error in
            [Store::join(&address(&url), &other).unwrap_err(), Store::begin(&address(&url), &other).unwrap_err()]
        {
            let error = format!("{error:#}");
            assert!(error.contains(part) && error.contains("is not the study's"), "{error}");
        }
    }
    let error = Store::join(&address(&server.url("nowhere")), &identity()).unwrap_err().to_string();
    assert!(error.contains("#nowhere: there is no such study"), "{error}");
    let error = Store::join(&address("postgres://ada:hunter2@127.0.0.1:1/x#y"), &identity()).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("ada:***@127.0.0.1:1/x#y") && !error.contains("hunter2"), "{error}");
}

/// cargo test --release --workspace --bin lossmith overhead -- --ignored --nocapture
#[test]
#[ignore = "a measurement: the overhead per candidate on a busy machine is no matter of right or wrong"]
fn overhead_per_candidate() {
    let Some(server) = Server::start() else { return };
    let url = server.url("overhead");
    let mut store = Store::begin(&address(&url), &identity()).unwrap();
    let tasks: Vec<String> = (0..1_000).map(|i| format!("x*log(y) + {i}")).collect();
    assert!(store.advance(-1, "", &tasks).unwrap());
    let mut milliseconds: Vec<f64> = Vec::new();
    let all = Instant::now();
    loop {
        let begun = Instant::now();
        let Some(lease) = store.take("w", LEASE).unwrap() else { break };
        let outcome = fitness(&lease.task).unwrap();
        assert!(store.close(&lease, &outcome).unwrap());
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let told = Instant::now();
    assert_eq!(store.position().unwrap().outcomes.unwrap().len(), tasks.len());
    milliseconds.sort_by(f64::total_cmp);
    let (median, last) = (milliseconds[tasks.len() / 2], milliseconds[tasks.len() * 99 / 100]);
    println!(
        "take and close: median {median:.2} ms, 99 % {last:.2} ms; reading {} outcomes {:.1} ms; in all {:.2} ms a candidate",
        tasks.len(),
        told.elapsed().as_secs_f64() * 1e3,
        all.elapsed().as_secs_f64() * 1e3 / tasks.len() as f64
    );
}
