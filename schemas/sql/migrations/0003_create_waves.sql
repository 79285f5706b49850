-- Waveforms: what is fixed for a run of samples, the blocks that hold them, and the newest chunks.

-- One channel of one boot of one device on one bed at one rate and scale.
-- A sample's value is sample * scale + zero, in unit.
CREATE TABLE wave_signal (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    bed_id integer NOT NULL REFERENCES bed,
    device text NOT NULL,
    boot text NOT NULL,
    channel text NOT NULL,
    unit text NOT NULL,
    rate_hz double precision NOT NULL,
    scale double precision NOT NULL,
    zero double precision NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    UNIQUE (bed_id, channel, device, boot, unit, rate_hz, scale, zero)
);

-- Chunks as they came, until a block of them is made: raw int16, little-endian.
CREATE TABLE wave_chunk (
    signal_id integer NOT NULL REFERENCES wave_signal,
    start_at timestamptz NOT NULL,
    seq bigint NOT NULL,
    samples integer NOT NULL,
    received_at timestamptz NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (signal_id, start_at, seq)
);
ALTER TABLE wave_chunk ALTER COLUMN data SET STORAGE PLAIN;

-- Blocks: consecutive samples without a gap, compressed (schemas/wave_codec.py). first_seq and
-- last_seq are the chunks that they came from. start_at is the first sample's, by the device's clock.
CREATE TABLE wave_block (
    start_at timestamptz NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    signal_id integer NOT NULL,
    samples integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (signal_id, start_at, first_seq)
) PARTITION BY RANGE (start_at);
ALTER TABLE wave_block ALTER COLUMN data SET STORAGE EXTERNAL;
