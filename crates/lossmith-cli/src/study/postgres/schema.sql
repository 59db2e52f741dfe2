-- Several studies share these tables. Times are the database's own.
CREATE TABLE IF NOT EXISTS lossmith_study (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    task text NOT NULL,
    version text NOT NULL,
    data text NOT NULL,
    recipe text NOT NULL,
    -- The stage under way; -1 before the first. A stage without trials is the end.
    stage bigint NOT NULL DEFAULT -1,
    state text NOT NULL DEFAULT '',
    begun timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE lossmith_study ADD COLUMN IF NOT EXISTS arithmetic text NOT NULL DEFAULT 'f32';
-- Seconds without a sign of life after which a trial is given to another; the same for everybody.
ALTER TABLE lossmith_study ADD COLUMN IF NOT EXISTS lease double precision NOT NULL DEFAULT 60;
CREATE TABLE IF NOT EXISTS lossmith_trial (
    study bigint NOT NULL REFERENCES lossmith_study ON DELETE CASCADE,
    stage bigint NOT NULL,
    place integer NOT NULL,
    trial text NOT NULL,
    -- queued, running or closed; a closed trial has exactly one outcome.
    state text NOT NULL DEFAULT 'queued',
    -- The fencing token: a lease is valid for one attempt only.
    attempt integer NOT NULL DEFAULT 0,
    -- Attempts that were given back unharmed.
    returned integer NOT NULL DEFAULT 0,
    worker text,
    lease timestamptz,
    PRIMARY KEY (study, stage, place)
);
-- Attempts that ended in an error; too many close the trial.
ALTER TABLE lossmith_trial ADD COLUMN IF NOT EXISTS errors integer NOT NULL DEFAULT 0;
-- Attempts whose holder fell silent, which says nothing of the trial: it is done again, however many they are.
ALTER TABLE lossmith_trial ADD COLUMN IF NOT EXISTS lost integer NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS lossmith_open ON lossmith_trial (study, stage, place) WHERE state <> 'closed';
CREATE TABLE IF NOT EXISTS lossmith_outcome (
    study bigint NOT NULL,
    stage bigint NOT NULL,
    place integer NOT NULL,
    ending text NOT NULL,
    fitness double precision,
    outcome text NOT NULL,
    attempt integer NOT NULL,
    worker text,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (study, stage, place),
    FOREIGN KEY (study, stage, place) REFERENCES lossmith_trial ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS lossmith_failure (
    study bigint NOT NULL,
    stage bigint NOT NULL,
    place integer NOT NULL,
    attempt integer NOT NULL,
    worker text,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    FOREIGN KEY (study, stage, place) REFERENCES lossmith_trial ON DELETE CASCADE
);
