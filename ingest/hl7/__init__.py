"""HL7 v2 from bedside monitors: bytes of a connection in, what Vigil's wire takes out. Pure.

    bytes ─ mllp ─▶ frames ─ message ─▶ segments ─ translate ─▶ Outcome ─ acknowledge ─▶ bytes
                                            ▲ profiles, codes, units, places

The shell is ``ingest.gateway``.
"""
