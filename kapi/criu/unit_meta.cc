#include "kapi/criu/unit_meta.h"

#include "kapi/criu/protobuf.h"
#include "kapi/criu/pstree.h"

namespace ckptfs {

Result<void> WriteUnitMeta(ImageSink& sink, const UnitMeta& meta) {
  std::string message;
  AppendIntField(&message, 1, meta.leader_outside ? 1 : 0);
  AppendIntField(&message, 2, meta.terminal ? 1 : 0);
  auto stream = sink.Open(kUnitMetaStream);
  if (!stream) return stream.error();
  if (auto done = (*stream)->Append(AsBytes(message)); !done) return done.error();
  return (*stream)->End();
}

Result<UnitMeta> ReadUnitMeta(ImageSource& source) {
  auto message = ReadStream(source, kUnitMetaStream, 4096);
  if (!message) return message.error();
  UnitMeta meta;
  ProtobufReader reader(AsBytes(*message));
  while (auto field = reader.Next()) {
    if (field->number == 1) meta.leader_outside = field->value != 0;
    if (field->number == 2) meta.terminal = field->value != 0;
  }
  if (reader.bad()) return Fail(Errc::kCorrupt, "the image's {} makes no sense", kUnitMetaStream);
  return meta;
}

}  // namespace ckptfs
