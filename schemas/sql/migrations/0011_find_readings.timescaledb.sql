-- When a bed's next reading was measured at or after a time; null: none before the other time.
CREATE FUNCTION vigil_next_reading(bed integer, from_at timestamptz, to_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT min(measured_at) FROM numerics
    WHERE bed_id = bed AND measured_at >= from_at AND measured_at < to_at
$$;
