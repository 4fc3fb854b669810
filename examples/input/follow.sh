# A short log, with a pause in the middle for the ticker.
echo "2026-01-31T12:00:00.123 INFO audit started"
echo "2026-01-31T12:00:00.501 WARN headers a.h: no include guard"
echo "2026-01-31T12:00:00.790 WARN headers b.h: no include guard"
echo "this line is not of the log"
sleep 0.8
echo "2026-01-31T12:00:01.004 ERROR headers c.h: cannot be read"
echo "2026-01-31T12:00:01.302 WARN headers d.h: no include guard"
printf "2026-01-31T12:00:02.017 INFO audit ended"
