-- Several studies share these tables. Times are the database's own.
CREATE TABLE IF NOT EXISTS lossmith_study (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    version text NOT NULL,
    data text NOT NULL,
    recipe text NOT NULL,
    -- The generation under evaluation; -1 before the first.
    generation bigint NOT NULL DEFAULT -1,
    state text NOT NULL DEFAULT '',
    result text,
    begun timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS lossmith_candidate (
    study bigint NOT NULL REFERENCES lossmith_study ON DELETE CASCADE,
    generation bigint NOT NULL,
    place integer NOT NULL,
    task text NOT NULL,
    -- queued, running or closed; a closed candidate has exactly one outcome.
    state text NOT NULL DEFAULT 'queued',
    -- The fencing token: a lease is valid for one attempt only.
    attempt integer NOT NULL DEFAULT 0,
    -- Attempts that were given back unharmed.
    returned integer NOT NULL DEFAULT 0,
    worker text,
    lease timestamptz,
    PRIMARY KEY (study, generation, place)
);
CREATE INDEX IF NOT EXISTS lossmith_open ON lossmith_candidate (study, generation, place) WHERE state <> 'closed';
CREATE TABLE IF NOT EXISTS lossmith_outcome (
    study bigint NOT NULL,
    generation bigint NOT NULL,
    place integer NOT NULL,
    ending text NOT NULL,
    fitness double precision,
    detail text NOT NULL,
    attempt integer NOT NULL,
    worker text,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (study, generation, place),
    FOREIGN KEY (study, generation, place) REFERENCES lossmith_candidate ON DELETE CASCADE
);
CREATE TABLE IF NOT EXISTS lossmith_failure (
    study bigint NOT NULL,
    generation bigint NOT NULL,
    place integer NOT NULL,
    attempt integer NOT NULL,
    worker text,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (study, generation, place) REFERENCES lossmith_candidate ON DELETE CASCADE
);
