# Functions, parameters, recursion, getopts, local variables.
fact() { if [ "$1" -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }
fact 10
fib() { if [ $1 -lt 2 ]; then r=$1; else fib $(($1 - 1)); local a=$r; fib $(($1 - 2)); r=$((r + a)); fi; }
show() { echo "$# [$1] [$2] [$*]"; for a in "$@"; do echo "<$a>"; done; }
show 'a b' c; show; show "" x
outer() { local v=1; inner; echo "v=$v"; }
inner() { v=2; }
v=0; outer; echo "global $v"
parse() { OPTIND=1; while getopts ab:c o "$@"; do case $o in a) echo a;; b) echo "b=$OPTARG";; c) echo c;; *) echo bad;; esac; done; shift $((OPTIND - 1)); echo "rest $*"; }
parse -a -b value -c x y; parse -abval; parse -z 2>/dev/null
ret() { return $1; }
ret 0 && echo zero; ret 1 || echo one; ret 42; echo $?
redefine() { echo first; redefine() { echo second; }; }
redefine; redefine
shift_all() { while [ $# -gt 0 ]; do printf '%s,' "$1"; shift; done; echo; }
shift_all 1 2 3
piped() { tr a-z A-Z; }
echo through | piped
x=1 env | grep '^x='; ( unset -f piped; type piped >/dev/null 2>&1 || echo gone )
eval 'dyn() { echo dynamic $1; }'; dyn 5
set -- one two three; echo $1 $3 $#; set -- ; echo "$#"
