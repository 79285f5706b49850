-- The ladders of units.
SELECT unit, ladder FROM unit_ladder ORDER BY unit
