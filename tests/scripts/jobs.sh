# Background jobs, wait, their status.
(exit 3) & wait $!; echo "waited $?"
true & a=$!; false & b=$!
wait $a; echo "a $?"; wait $b; echo "b $?"
for i in 1 2 3 4 5; do (echo "job $i" > "job.$i") & done; wait
cat job.1 job.2 job.3 job.4 job.5
sleep 0.05 & p=$!
kill -0 $p && echo alive
wait $p; echo "slept $?"
kill -0 $p 2>/dev/null || echo gone
sleep 100 & p=$!
kill $p; wait $p 2>/dev/null; echo "killed $?"
sleep 100 & p=$!
kill -9 $p; wait $p 2>/dev/null; echo "killed $?"
wait 2147483647 2>/dev/null; echo "no child: $?"
{ sleep 0.02; echo late; } & echo early; wait
( sleep 0.02 & sleep 0.01 & wait; echo both )
mkfifo queue; (echo through the fifo > queue) & cat queue; wait
i=0; while [ $i -lt 20 ]; do true & i=$((i + 1)); done; wait; echo "all $i"
