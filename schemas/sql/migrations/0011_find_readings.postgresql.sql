-- When a bed's next reading was measured at or after a time; null: none before the other time. May be
-- early by what stands packed in one row, never late.
CREATE FUNCTION vigil_next_reading(bed integer, from_at timestamptz, to_at timestamptz)
RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least(
        (SELECT min(measured_at) FROM numerics
            WHERE bed_id = bed AND measured_at >= from_at AND measured_at < to_at),
        (SELECT CASE WHEN count(*) > 0 THEN greatest(min(start_at), from_at) END FROM numerics_packed
            WHERE bed_id = bed AND start_at >= from_at - interval '1 day' AND start_at < to_at
                AND end_at >= from_at)
    )
$$;
