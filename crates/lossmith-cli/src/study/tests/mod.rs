//! Faults against a real server: whatever dies, every trial has exactly one outcome and the search ends as undisturbed.

mod server;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use lossmith::expr::{CLASS_VARIABLES, Expr};
use lossmith_search::gp::{Gp, GpState, Settings as GpSettings};
use lossmith_search::trial::{End, Outcome, Part, Trial};
use serde::{Deserialize, Serialize};

use self::server::{Proxy, Server, kill_group, url};
use super::postgres::progress;
use super::{Address, Identity, Job, Lease, MOST_ERRORS, Plan, PostgresStudy, Progress, SqliteStudy, Stage, Study};
use super::{work, work_through};
use crate::progress::Talk;

const GENERATIONS: u64 = 3;
const POPULATION: usize = 10;
const BATCH: usize = 4;
/// A short lease, so that tests need not wait long; a sign of life comes ten times as often.
const LEASE: Duration = Duration::from_secs(3);

fn identity() -> Identity {
    let text = str::to_owned;
    let (version, task, data) = (text("1.0"), text("test"), text("abc"));
    Identity { version, task, data, recipe: text("population = 10"), arithmetic: text("f32") }
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn lease(worker: &str, length: Duration) -> Lease {
    Lease { worker: worker.to_owned(), length: Some(length) }
}

/// A lease of the length that the study was begun with.
fn usual_lease(worker: &str) -> Lease {
    Lease { worker: worker.to_owned(), length: None }
}

/// A small search by genetic programming, whose result names every tree and fitness of its last generation.
#[derive(Clone, Serialize, Deserialize)]
struct Search {
    gp: GpState,
    result: Option<String>,
}

impl Search {
    fn new() -> Self {
        let settings = GpSettings { population: POPULATION, elites: 2, ..GpSettings::default() };
        Self { gp: Gp::new(settings, CLASS_VARIABLES, 42).unwrap().state(), result: None }
    }

    fn trees(&self) -> anyhow::Result<Vec<String>> {
        let gp = Gp::resume(self.gp.clone(), CLASS_VARIABLES)?;
        Ok(gp.generation().iter().map(|tree| tree.display(CLASS_VARIABLES).to_string()).collect())
    }
}

impl Plan for Search {
    fn stage(&self) -> String {
        "a generation".to_owned()
    }

    fn trials(&self) -> anyhow::Result<Vec<Trial>> {
        if self.result.is_some() {
            return Ok(Vec::new());
        }
        let trial =
            |loss| Trial { loss, steps: 1, seed: 0, rate: None, train_size: None, part: Part::Validation, floor: None };
        Ok(self.trees()?.into_iter().map(trial).collect())
    }

    fn tell(&mut self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let fitness: Vec<f64> = outcomes.iter().map(Outcome::fitness).collect();
        let mut gp = Gp::resume(self.gp.clone(), CLASS_VARIABLES)?;
        if gp.number() + 1 == GENERATIONS {
            self.result = Some(format!("{:?} {fitness:?}", self.trees()?));
        } else {
            gp.tell(&fitness)?;
            self.gp = gp.state();
        }
        Ok(())
    }
}

/// Any fixed function of the formula.
fn fitness(trial: &Trial) -> anyhow::Result<Outcome> {
    let nodes = Expr::parse(&trial.loss, CLASS_VARIABLES)?.nodes().len();
    let letters: u32 = trial.loss.bytes().map(u32::from).sum();
    let accuracy = f64::from(letters % 97) / 97.0 / (1.0 + nodes as f64 / 50.0);
    Ok(Outcome { end: End::Done, accuracy, steps: 1, curve: Vec::new() })
}

/// Does trials, each after a pause.
fn evaluate(trials: &[Trial], pause: Duration) -> anyhow::Result<Vec<Option<Outcome>>> {
    trials
        .iter()
        .map(|trial| {
            thread::sleep(pause);
            fitness(trial).map(Some)
        })
        .collect()
}

/// The search in a file of this process alone.
fn undisturbed() -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut study = SqliteStudy::open(&folder.path().join("study.db")).unwrap();
    let mut evaluate = |trials: &[Trial]| evaluate(trials, Duration::ZERO);
    work_through(&mut study, Search::new(), BATCH, &mut Talk::new(true), &mut evaluate).unwrap().result.unwrap()
}

/// A worker in a process of its own: this very program, at the test below.
struct WorkerProcess(Child);

impl WorkerProcess {
    fn start(url: &str, name: &str, milliseconds: u64) -> Self {
        let process = {
            use std::os::unix::process::CommandExt;
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "study::tests::a_worker_process", "--ignored", "--nocapture"])
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
    let mut study = PostgresStudy::join(&address(url), &identity(), usual_lease(name)).unwrap();
    work(&mut study, BATCH, &mut |trials| evaluate(trials, pause)).unwrap();
}

/// Leads the study without doing any of its trials.
fn lead(url: &str) -> String {
    let study = PostgresStudy::begin(&address(url), &identity(), usual_lease("leader")).unwrap();
    let mut study = LeaveToOthers(study, Instant::now());
    let mut nothing = |_: &[Trial]| unreachable!("takes nothing");
    work_through(&mut study, Search::new(), BATCH, &mut Talk::new(true), &mut nothing).unwrap().result.unwrap()
}

/// A study of which nothing is taken, begun at this moment: where all workers are gone it ends, instead of waiting for ever.
struct LeaveToOthers(PostgresStudy, Instant);

impl Study for LeaveToOthers {
    fn latest(&mut self) -> anyhow::Result<Option<Stage>> {
        self.0.latest()
    }
    fn open(&mut self, stage: &Stage, trials: &[Trial]) -> anyhow::Result<()> {
        self.0.open(stage, trials)
    }
    fn take(&mut self, _: usize) -> anyhow::Result<Vec<Job>> {
        anyhow::ensure!(self.1.elapsed() < Duration::from_secs(180), "nobody works");
        Ok(Vec::new())
    }
    fn finish(&mut self, done: &[(Job, Outcome)]) -> anyhow::Result<()> {
        self.0.finish(done)
    }
    fn give_back(&mut self, jobs: &[Job], error: Option<&str>) -> anyhow::Result<()> {
        self.0.give_back(jobs, error)
    }
    fn done(&mut self, stage: u32) -> anyhow::Result<usize> {
        self.0.done(stage)
    }
    fn outcomes(&mut self, stage: u32) -> anyhow::Result<Vec<(Trial, Option<Outcome>)>> {
        self.0.outcomes(stage)
    }
}

/// Begins the study, so that workers may join.
fn begin(url: &str) {
    begin_with(url, LEASE);
}

fn begin_with(url: &str, length: Duration) {
    let mut study = PostgresStudy::begin(&address(url), &identity(), lease("leader", length)).unwrap();
    let first = Search::new();
    let stage = Stage { number: 0, state: serde_json::to_string(&first).unwrap() };
    study.open(&stage, &first.trials().unwrap()).unwrap();
}

fn progress_of(url: &str) -> Progress {
    progress(&address(url)).unwrap().remove(0)
}

/// Every trial has exactly one outcome; returns the number of attempts of each trial that needed more than one. On a
/// machine so busy that a sign of life comes too late these are more than the faults of the test.
fn check_outcomes(server: &Server, study: &str) -> Vec<i32> {
    let rows = server
        .client()
        .query(
            "SELECT t.state, t.attempt, count(o.ending) FROM lossmith_trial t
             LEFT JOIN lossmith_outcome o USING (study, stage, place)
             JOIN lossmith_study s ON s.id = t.study AND s.name = $1
             GROUP BY t.study, t.stage, t.place, t.state, t.attempt ORDER BY t.stage, t.place",
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
        let progress = progress_of(&server.url(&study));
        assert_eq!((progress.finished, progress.trials), (true, [("done".to_owned(), 30)].into()));
    }
}

#[test]
fn a_worker_killed_in_mid_candidate_loses_nothing() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("killed-worker");
    begin(&url);
    let victim = WorkerProcess::start(&url, "victim", 60_000);
    wait_until("the victim holds a lease", || !progress_of(&url).leases.is_empty());
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
            let done = || progress_of(&url).trials.get("done").is_some_and(|n| *n >= outcomes);
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
        wait_until("the study has begun", || progress(&address(&url)).is_ok());
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
    // Nobody renews a lease: the sign of life would come after a tenth of an hour.
    begin_with(&url, Duration::from_secs(3_600));
    let mut slow = PostgresStudy::join(&address(&url), &identity(), usual_lease("slow")).unwrap();
    let mut quick = PostgresStudy::join(&address(&url), &identity(), usual_lease("quick")).unwrap();
    let old = slow.take(1).unwrap();
    let expire = "UPDATE lossmith_trial SET lease = clock_timestamp() - interval '1 s' WHERE worker = 'slow'";
    assert_eq!(server.client().execute(expire, &[]).unwrap(), 1);
    // What was lost comes after what nobody has taken yet.
    let (mut new, mut others) = (quick.take(1).unwrap(), Vec::new());
    while new[0].place != old[0].place {
        others.append(&mut new);
        new = quick.take(1).unwrap();
    }
    quick.give_back(&others, None).unwrap();
    let key = |job: &Job| (job.stage, job.place, job.attempt);
    assert_eq!(key(&new[0]), (old[0].stage, old[0].place, old[0].attempt + 1));

    let good = fitness(&new[0].trial).unwrap();
    let wrong = Outcome { accuracy: 1e9, ..good.clone() };
    slow.finish(&[(old[0].clone(), wrong.clone())]).unwrap();
    assert_eq!(slow.done(0).unwrap(), 0, "before the new one is in");
    slow.give_back(&old, Some("too slow")).unwrap();
    assert!(progress_of(&url).failures.is_empty());
    quick.finish(&[(new[0].clone(), good.clone())]).unwrap();
    for (study, outcome) in [(&mut slow, &wrong), (&mut quick, &wrong)] {
        study.finish(&[(old[0].clone(), outcome.clone()), (new[0].clone(), outcome.clone())]).unwrap();
        assert_eq!(study.outcomes(0).unwrap()[0].1.as_ref(), Some(&good), "stored once only");
    }

    let worker = WorkerProcess::start(&url, "w", 5);
    assert_eq!(lead(&url), undisturbed());
    assert!(!check_outcomes(&server, "late").is_empty());
    worker.finish();
}

#[test]
fn workers_that_fall_silent_change_nothing() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("silent");
    begin_with(&url, Duration::from_secs(3_600));
    for victim in 0..MOST_ERRORS + 2 {
        let mut study = PostgresStudy::join(&address(&url), &identity(), usual_lease(&format!("v{victim}"))).unwrap();
        let mut held = 0;
        while held < POPULATION {
            let jobs = study.take(POPULATION).unwrap();
            assert!(victim < 3 || jobs.len() == 1, "what silences its workers again and again is taken alone");
            assert!(jobs.iter().all(|job| job.attempt == victim + 1));
            held += jobs.len();
        }
        let expire = "UPDATE lossmith_trial SET lease = clock_timestamp() - interval '1 s' WHERE worker = $1";
        server.client().execute(expire, &[&format!("v{victim}")]).unwrap();
    }
    // An error is counted apart.
    let mut study = PostgresStudy::join(&address(&url), &identity(), usual_lease("w")).unwrap();
    let jobs = study.take(1).unwrap();
    assert_eq!(progress_of(&url).leases[0].lost, MOST_ERRORS as i32 + 2);
    study.give_back(&jobs, Some("out of memory")).unwrap();
    let worker = WorkerProcess::start(&url, "heir", 1);
    assert_eq!(lead(&url), undisturbed());
    assert!(check_outcomes(&server, "silent").contains(&(MOST_ERRORS as i32 + 4)));
    worker.finish();
    assert_eq!(progress_of(&url).trials, [("done".to_owned(), 30)].into());
}

#[test]
fn a_lease_is_the_same_for_all_who_work_for_a_study() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("leases");
    begin(&url);
    let other = || lease("w", Duration::from_secs(5));
    let join = PostgresStudy::join(&address(&url), &identity(), other()).err().unwrap();
    let again = PostgresStudy::begin(&address(&url), &identity(), other()).err().unwrap();
    for error in [join, again] {
        let error = format!("{error:#}");
        assert!(error.contains("--lease 5: this study was begun with --lease 3"), "{error}");
    }
    PostgresStudy::join(&address(&url), &identity(), lease("w", LEASE)).unwrap();
}

#[test]
fn failing_trials_are_tried_again_then_given_up_and_keep_their_errors() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("failing");
    begin(&url);
    let trees = Search::new().trees().unwrap();
    let faulty = |trials: &[Trial]| {
        for trial in trials {
            match trees.iter().position(|tree| *tree == trial.loss) {
                Some(0) => anyhow::bail!("out of memory"),
                Some(1) => panic!("a bug"),
                _ => {}
            }
        }
        evaluate(trials, Duration::ZERO)
    };
    let on_server = thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut study = PostgresStudy::join(&address(&url), &identity(), lease("w", LEASE)).unwrap();
            work(&mut study, BATCH, &mut |trials| faulty(trials))
        });
        let result = lead(&url);
        worker.join().unwrap().unwrap();
        result
    });
    let progress = progress_of(&url);
    assert!(progress.trials["failed"] >= 2, "{progress:?}");
    assert!(
        progress.failures.iter().all(|f| f.worker == "w" && (f.error == "out of memory" || f.error.contains("a bug")))
    );
    let mut client = server.client();
    let most: i32 = client.query_one("SELECT max(attempt) FROM lossmith_failure", &[]).unwrap().get(0);
    assert_eq!(most, MOST_ERRORS as i32);
    let kept = client.query("SELECT outcome FROM lossmith_outcome WHERE ending = 'failed'", &[]).unwrap();
    let kept: Vec<String> = kept.iter().map(|row| row.get(0)).collect();
    assert!(kept.iter().any(|o| o.contains("out of memory")) && kept.iter().any(|o| o.contains("a bug")), "{kept:?}");

    let folder = tempfile::tempdir().unwrap();
    let mut study = SqliteStudy::open(&folder.path().join("study.db")).unwrap();
    let mut faulty = |trials: &[Trial]| faulty(trials);
    let done = work_through(&mut study, Search::new(), BATCH, &mut Talk::new(true), &mut faulty).unwrap();
    assert_eq!(done.result.unwrap(), on_server, "a file and a server treat failures alike");
}

#[test]
fn work_that_is_told_to_stop_is_given_back_unharmed() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("stopped");
    begin(&url);
    let mut study = PostgresStudy::join(&address(&url), &identity(), lease("w", LEASE)).unwrap();
    for _ in 0..2 * MOST_ERRORS {
        let jobs = study.take(BATCH).unwrap();
        let stored =
            super::worker::work_off(&mut study, &jobs, &mut |_| Err(crate::interrupt::Interrupted.into())).unwrap();
        assert_eq!((stored, jobs.len(), study.done(0).unwrap()), (0, 3, 0));
    }
    let progress = progress_of(&url);
    assert_eq!((progress.trials, progress.failures), ([("queued".to_owned(), 10)].into(), vec![]));
}

#[test]
fn strangers_are_refused() {
    let Some(server) = Server::shared() else { return };
    let url = server.url("strangers");
    begin(&url);
    for (other, part) in [
        (Identity { version: "2.0".into(), ..identity() }, "program version"),
        (Identity { task: "other".into(), ..identity() }, "task"),
        (Identity { data: "xyz".into(), ..identity() }, "data (checksum)"),
        (Identity { recipe: "population = 11".into(), ..identity() }, "recipe"),
        (Identity { arithmetic: "bf16 products by AMX".into(), ..identity() }, "arithmetic"),
        (Identity { arithmetic: "f32 by AVX2 (00000000)".into(), ..identity() }, "arithmetic"),
    ] {
        let join = PostgresStudy::join(&address(&url), &other, lease("w", LEASE)).err().unwrap();
        let begin = PostgresStudy::begin(&address(&url), &other, lease("w", LEASE)).err().unwrap();
        for error in [join, begin] {
            let error = format!("{error:#}");
            assert!(error.contains(part) && error.contains("is not the study's"), "{error}");
        }
    }
    let stranger = |url: &str| PostgresStudy::join(&address(url), &identity(), lease("w", LEASE)).err().unwrap();
    let error = stranger(&server.url("nowhere")).to_string();
    assert!(error.contains("#nowhere: there is no such study"), "{error}");
    let error = format!("{:#}", stranger("postgres://ada:hunter2@127.0.0.1:1/x#y"));
    assert!(error.contains("ada:***@127.0.0.1:1/x#y") && !error.contains("hunter2"), "{error}");
}

/// cargo test --release --workspace --bin lossmith overhead -- --ignored --nocapture
#[test]
#[ignore = "a measurement: the overhead per trial on a busy machine is no matter of right or wrong"]
fn overhead_per_trial() {
    let Some(server) = Server::start() else { return };
    for batch in [1, 2, 16] {
        let url = server.url(&format!("overhead-{batch}"));
        let mut study = PostgresStudy::begin(&address(&url), &identity(), lease("w", LEASE)).unwrap();
        let trial = Search::new().trials().unwrap().remove(0);
        let trials: Vec<Trial> = (0..2_000).map(|seed| Trial { seed, ..trial.clone() }).collect();
        let open = Instant::now();
        study.open(&Stage { number: 0, state: String::new() }, &trials).unwrap();
        let open = open.elapsed();
        let mut milliseconds: Vec<f64> = Vec::new();
        loop {
            let begun = Instant::now();
            let jobs = study.take(batch).unwrap();
            if jobs.is_empty() {
                break;
            }
            let done: Vec<(Job, Outcome)> =
                jobs.into_iter().map(|job| (job.clone(), fitness(&job.trial).unwrap())).collect();
            study.finish(&done).unwrap();
            study.done(0).unwrap();
            milliseconds.push(begun.elapsed().as_secs_f64() * 1e3 / done.len() as f64);
        }
        let told = Instant::now();
        assert_eq!(study.outcomes(0).unwrap().len(), trials.len());
        milliseconds.sort_by(f64::total_cmp);
        let at = |share: usize| milliseconds[milliseconds.len() * share / 100];
        println!(
            "batches of {batch}: take, finish and count {:.2} ms a trial in the median (99 %: {:.2}); opening {} trials \
             {:.0} ms, reading their outcomes {:.0} ms",
            at(50),
            at(99),
            trials.len(),
            open.as_secs_f64() * 1e3,
            told.elapsed().as_secs_f64() * 1e3,
        );
    }
}
