#include "fs/root.h"

namespace ckptfs {

// Lines of at most 80 columns; every indented line can be pasted into a shell
// whose folder is the mount.
std::string_view ReadmeText() {
  return R"(ckptfs: checkpoint and restart jobs by reading and writing files
================================================================

A job is a tree of processes. It is saved as an image: a folder that is signed
and encrypted. Copy the folder to another machine, and the job goes on there.

Start a job, save it, stop it, go on:

    ckptfs run sim python3 -c 'import time; [time.sleep(1) for i in range(999)]'
    echo checkpoint > jobs/sim/ctl
    ls -l images/sim
    echo checkpoint stop > jobs/sim/ctl
    echo restart > jobs/sim/ctl
    cat jobs/sim/status

Take over a program that runs already (all of it must be yours):

    mkdir jobs/mine
    echo PID > jobs/mine/units/main/procs

Save it every ten minutes, keep the last five versions, restart it if it fails:

    printf 'interval 600\nkeep 5\nrestart on-failure\n' > jobs/mine/policy

Take it to another machine. The two must trust each other before the checkpoint:
this one, so that the other can read the image; the other, so that it takes it.

    cp /OTHER/ckpt/keys/self.pub keys/trusted/other.pub
    cp keys/self.pub /OTHER/ckpt/keys/trusted/here.pub
    echo checkpoint stop > jobs/sim/ctl
    mkdir -p /OTHER/ckpt/images/sim
    cp -a images/sim/3 /OTHER/ckpt/images/sim/

and there:

    mkdir jobs/sim
    echo restart 3 > jobs/sim/ctl

When a write fails, the words are in jobs/JOB/error_log (or in error_log here).

The tree
--------
status             this node: keys, store, checkpointers, incoming images
events             one line an event: tail -f events
error_log          the last failed commands: what was wrong, what to do
metrics            for Prometheus
checkpointers/     what can save jobs here, and if not, why not
keys/self.pub      this node's public key
keys/trusted/      NAME.pub: whose images are taken, and who may read ours
jobs/JOB/          mkdir makes a job, rmdir forgets it; its processes stay
  ctl              write a command; reading lists the commands
  status           state, units, last version, last operation
  policy           when and how to save; write the keys that shall change
  progress         of the running operation
  wait             reading returns when the job has ended, with its exit status
  error_log        of this job
  units/UNIT/      mkdir makes another unit of the job
    procs          write the pid of the tree's root; reading lists its pids
    checkpointer   auto, or the name of one of checkpointers/
    status, log
images/JOB/N/      one version: manifest, manifest.minisig, UNIT.img
images/JOB/latest  the newest version

    rm -r images/sim/1                       deletes a version
    minisign -Vm images/sim/1/manifest -p keys/self.pub

The commands for ctl
--------------------
checkpoint [stop] [full]              save; stop: and end the processes
restart [N] [clone] [here|node=NODE]  go on from version N, or the latest
suspend, resume                       stand still, go on
kill                                  end the processes
migrate NODE                          go on elsewhere
cancel                                give up the operation that runs

A write returns when the command has finished; "checkpoint &" returns when it
has started. Ctrl-C cancels the command, and the job runs on.
)";
}

}  // namespace ckptfs
