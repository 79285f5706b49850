-- TimescaleDB compresses by itself: a bed's readings between two times stand in one table.
CREATE FUNCTION vigil_readings(bed integer, from_at timestamptz, to_at timestamptz)
RETURNS SETOF numerics LANGUAGE sql STABLE AS $$
    SELECT * FROM numerics
    WHERE bed_id = bed AND measured_at >= from_at AND measured_at < to_at
$$;
